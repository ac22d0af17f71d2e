CREATE TABLE capsule_registry_version (
	version_num TEXT NOT NULL,
	CONSTRAINT capsule_registry_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE "namespaces" (
	name TEXT NOT NULL,
	incarnation TEXT NOT NULL,
	revision INTEGER NOT NULL,
	head_hash TEXT NOT NULL,
	compacted_revision INTEGER NOT NULL,
	last_commit_at TEXT NOT NULL, runtime_version TEXT,
	CONSTRAINT pk_namespaces PRIMARY KEY (name)
)
 WITHOUT ROWID

, STRICT;
CREATE TABLE "schema_versions" (
	version TEXT NOT NULL,
	applied_at TEXT NOT NULL,
	library_version TEXT NOT NULL,
	oldest_compatible TEXT NOT NULL,
	CONSTRAINT pk_schema_versions PRIMARY KEY (version)
)
 WITHOUT ROWID

, STRICT;
CREATE TABLE "manifests" (
	namespace TEXT NOT NULL,
	digest TEXT NOT NULL,
	format TEXT NOT NULL,
	text TEXT NOT NULL,
	CONSTRAINT pk_manifests PRIMARY KEY (namespace, digest),
	CONSTRAINT fk_manifests_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
	CONSTRAINT ck_manifests_format_known CHECK (format IN ('toml', 'json'))
) STRICT;
CREATE TABLE "revisions" (
	namespace TEXT NOT NULL,
	revision INTEGER NOT NULL,
	committed_at TEXT NOT NULL,
	actor TEXT NOT NULL,
	database_user TEXT,
	reason TEXT,
	request_id TEXT NOT NULL,
	event_count INTEGER NOT NULL,
	previous_hash TEXT NOT NULL,
	hash TEXT NOT NULL,
	CONSTRAINT pk_revisions PRIMARY KEY (namespace, revision),
	CONSTRAINT fk_revisions_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
	CONSTRAINT uq_revisions_request_id UNIQUE (request_id)
) STRICT;
CREATE INDEX ix_revisions_committed_at ON revisions (namespace, committed_at);
CREATE TABLE "events" (
	namespace TEXT NOT NULL,
	revision INTEGER NOT NULL,
	position INTEGER NOT NULL,
	action TEXT NOT NULL,
	kind TEXT NOT NULL,
	subject TEXT NOT NULL,
	capsule_id TEXT,
	old_row TEXT,
	new_row TEXT, changes TEXT,
	CONSTRAINT pk_events PRIMARY KEY (namespace, revision, position)
) STRICT;
CREATE INDEX ix_events_capsule_id ON events (namespace, capsule_id, revision);
CREATE INDEX ix_events_subject ON events (namespace, kind, subject, revision);
CREATE TABLE "capsules" (
	namespace TEXT NOT NULL,
	id TEXT NOT NULL,
	version TEXT,
	manifest TEXT,
	manifest_digest TEXT,
	reported_tools TEXT,
	source_dir TEXT,
	state TEXT,
	state_reason TEXT,
	generation INTEGER,
	registered_revision INTEGER,
	position INTEGER,
	modified_revision INTEGER NOT NULL, created_revision INTEGER NOT NULL,
	registered_at TEXT, form TEXT DEFAULT 'legacy' NOT NULL CONSTRAINT ck_capsules_form_known CHECK (form IN ('legacy', 'today', 'mixed')), rules TEXT DEFAULT 'original' NOT NULL, restored_generation INTEGER,
	CONSTRAINT pk_capsules PRIMARY KEY (namespace, id),
	CONSTRAINT fk_capsules_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
	CONSTRAINT fk_capsules_manifests FOREIGN KEY(namespace, manifest_digest) REFERENCES manifests (namespace, digest),
	CONSTRAINT ck_capsules_state_known CHECK (state IN ('unloaded', 'loading', 'ready', 'failed', 'unloading')),
	CONSTRAINT ck_capsules_reserved_or_registered CHECK ((registered_at IS NULL AND source_dir IS NULL AND state_reason IS NULL AND reported_tools IS NULL AND version IS NULL AND manifest IS NULL AND manifest_digest IS NULL AND state IS NULL AND generation IS NULL AND registered_revision IS NULL AND position IS NULL) OR (registered_at IS NOT NULL AND version IS NOT NULL AND manifest IS NOT NULL AND manifest_digest IS NOT NULL AND state IS NOT NULL AND generation IS NOT NULL AND registered_revision IS NOT NULL AND position IS NOT NULL))
) STRICT;
CREATE INDEX ix_capsules_manifest_digest ON capsules (namespace, manifest_digest);
CREATE INDEX ix_capsules_order ON capsules (namespace, registered_revision, position);
CREATE INDEX ix_capsules_state ON capsules (namespace, state, registered_revision, position);
CREATE TABLE "uplinks" (
	namespace TEXT NOT NULL,
	id TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	name TEXT NOT NULL,
	platform TEXT NOT NULL,
	source_kind TEXT NOT NULL,
	source_capsule_id TEXT,
	profile TEXT NOT NULL,
	can_receive INTEGER NOT NULL,
	can_send INTEGER NOT NULL,
	can_approve INTEGER NOT NULL,
	can_elicit INTEGER NOT NULL,
	supports_rich_media INTEGER NOT NULL,
	supports_threads INTEGER NOT NULL,
	supports_buttons INTEGER NOT NULL,
	capability_mask INTEGER GENERATED ALWAYS AS (CASE WHEN can_receive THEN 1 ELSE 0 END + CASE WHEN can_send THEN 2 ELSE 0 END + CASE WHEN can_approve THEN 4 ELSE 0 END + CASE WHEN can_elicit THEN 8 ELSE 0 END + CASE WHEN supports_rich_media THEN 16 ELSE 0 END + CASE WHEN supports_threads THEN 32 ELSE 0 END + CASE WHEN supports_buttons THEN 64 ELSE 0 END) STORED,
	metadata TEXT NOT NULL,
	declared INTEGER NOT NULL,
	created_revision INTEGER NOT NULL,
	position INTEGER NOT NULL,
	registered_at TEXT NOT NULL,
	CONSTRAINT pk_uplinks PRIMARY KEY (namespace, id),
	CONSTRAINT fk_uplinks_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE,
	CONSTRAINT ck_uplinks_source_kind_known CHECK (source_kind IN ('native', 'wasm', 'open_claw')),
	CONSTRAINT ck_uplinks_profile_known CHECK (profile IN ('chat', 'interactive', 'notify', 'bridge')), CONSTRAINT ck_uplinks_can_receive_boolean CHECK (can_receive IN (FALSE, TRUE)), CONSTRAINT ck_uplinks_can_send_boolean CHECK (can_send IN (FALSE, TRUE)), CONSTRAINT ck_uplinks_can_approve_boolean CHECK (can_approve IN (FALSE, TRUE)), CONSTRAINT ck_uplinks_can_elicit_boolean CHECK (can_elicit IN (FALSE, TRUE)), CONSTRAINT ck_uplinks_supports_rich_media_boolean CHECK (supports_rich_media IN (FALSE, TRUE)), CONSTRAINT ck_uplinks_supports_threads_boolean CHECK (supports_threads IN (FALSE, TRUE)), CONSTRAINT ck_uplinks_supports_buttons_boolean CHECK (supports_buttons IN (FALSE, TRUE)), CONSTRAINT ck_uplinks_declared_boolean CHECK (declared IN (FALSE, TRUE))
) STRICT;
CREATE INDEX ix_uplinks_capability_mask ON uplinks (namespace, capability_mask);
CREATE INDEX ix_uplinks_capsule_id ON uplinks (namespace, capsule_id, created_revision, position);
CREATE INDEX ix_uplinks_order ON uplinks (namespace, created_revision, position);
CREATE INDEX ix_uplinks_platform ON uplinks (namespace, platform, created_revision, position);
CREATE INDEX ix_uplinks_profile ON uplinks (namespace, profile);
CREATE TABLE "leases" (
	namespace TEXT NOT NULL,
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	host TEXT NOT NULL,
	pid INTEGER NOT NULL,
	actor TEXT NOT NULL,
	ttl_ms INTEGER NOT NULL,
	opened_at TEXT NOT NULL,
	opened_revision INTEGER NOT NULL,
	expires_at TEXT NOT NULL,
	boot_id TEXT,
	expires_uptime_ms INTEGER,
	expired_at TEXT,
	CONSTRAINT pk_leases PRIMARY KEY (namespace, id),
	CONSTRAINT fk_leases_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name)
) STRICT;
CREATE INDEX ix_leases_expires_at ON leases (namespace, expires_at);
CREATE TABLE "uuid_mappings" (
	namespace TEXT NOT NULL,
	uuid TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	lease_id TEXT,
	registered_at TEXT NOT NULL,
	created_revision INTEGER NOT NULL,
	position INTEGER NOT NULL,
	CONSTRAINT pk_uuid_mappings PRIMARY KEY (namespace, uuid),
	CONSTRAINT fk_uuid_mappings_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE,
	CONSTRAINT fk_uuid_mappings_leases FOREIGN KEY(namespace, lease_id) REFERENCES leases (namespace, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX ix_uuid_mappings_capsule_id ON uuid_mappings (namespace, capsule_id, created_revision, position);
CREATE INDEX ix_uuid_mappings_lease_id ON uuid_mappings (namespace, lease_id);
CREATE TABLE "interceptors" (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	event TEXT NOT NULL,
	action TEXT NOT NULL, priority INTEGER DEFAULT 100 NOT NULL,
	CONSTRAINT pk_interceptors PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT fk_interceptors_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX ix_interceptors_event ON interceptors (namespace, event);
CREATE TABLE "provisions" (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	kind TEXT NOT NULL,
	capability TEXT NOT NULL,
	CONSTRAINT pk_provisions PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT fk_provisions_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX ix_provisions_kind ON provisions (namespace, kind);
CREATE TABLE "requirements" (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	kind TEXT NOT NULL,
	capability TEXT NOT NULL,
	CONSTRAINT pk_requirements PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT fk_requirements_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX ix_requirements_kind ON requirements (namespace, kind);
CREATE TABLE own_commits (
    id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    CONSTRAINT pk_own_commits PRIMARY KEY (id),
    CONSTRAINT ck_own_commits_one_row CHECK (id = 1)
) STRICT;
CREATE VIEW live_uuids AS
        SELECT uuid_mappings.namespace, uuid_mappings.uuid, uuid_mappings.capsule_id,
            capsules.state, capsules.generation, uuid_mappings.lease_id, leases.expires_at,
            uuid_mappings.registered_at
        FROM uuid_mappings
        JOIN capsules ON capsules.namespace = uuid_mappings.namespace
            AND capsules.id = uuid_mappings.capsule_id
            AND capsules.created_revision <= uuid_mappings.created_revision
        LEFT JOIN leases ON leases.namespace = uuid_mappings.namespace
            AND leases.id = uuid_mappings.lease_id
        WHERE uuid_mappings.lease_id IS NULL OR leases.expires_at > strftime('%Y-%m-%dT%H:%M:%f000Z', 'now');
CREATE VIEW capsule_history AS
        SELECT step.namespace, step.capsule_id, step.generation, step.until_revision,
            step.from_time, ending.committed_at AS until_time, step.version,
            step.manifest_digest, beginning.actor AS begun_by, beginning.reason AS begun_reason,
            ending.actor AS ended_by, ending.reason AS ended_reason,
            CASE WHEN step.until_revision IS NULL THEN NULL
                WHEN step.replaced_by IS NOT NULL THEN 'replaced' ELSE 'removed' END AS ended_how
        FROM (
            SELECT image.*,
                lead(image.revision) OVER steps AS until_revision,
                lead(image.generation) OVER steps AS replaced_by
            FROM (
                SELECT last_event.*, lag(last_event.generation) OVER (
                    PARTITION BY last_event.namespace, last_event.capsule_id
                    ORDER BY last_event.revision) AS generation_before
                FROM (
                    SELECT events.namespace, events.subject AS capsule_id, events.revision,
                        json_extract(events.new_row, '$.version') AS version, json_extract(events.new_row, '$.manifest_digest') AS manifest_digest,
                        json_extract(events.new_row, '$.registered_at') AS from_time, json_extract(events.new_row, '$.generation') AS generation,
                        lead(events.revision) OVER (PARTITION BY events.namespace, events.subject
                            ORDER BY events.revision, events.position) AS next_event
                    FROM events
                    WHERE events.kind = 'capsules'
                ) AS last_event
                WHERE last_event.next_event IS NULL
                    OR last_event.next_event > last_event.revision
            ) AS image
            WHERE coalesce(image.generation, 0) <> coalesce(image.generation_before, 0)
            WINDOW steps AS (PARTITION BY image.namespace, image.capsule_id
                ORDER BY image.revision)
        ) AS step
        LEFT JOIN revisions AS beginning ON beginning.namespace = step.namespace
            AND beginning.revision = step.generation
        LEFT JOIN revisions AS ending ON ending.namespace = step.namespace
            AND ending.revision = step.until_revision
        WHERE step.generation IS NOT NULL;
CREATE TRIGGER events_unchanged BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE TRIGGER revisions_unchanged BEFORE UPDATE ON revisions BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE TRIGGER manifests_unchanged BEFORE UPDATE ON manifests BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE TRIGGER events_kept BEFORE DELETE ON events WHEN NOT OLD.revision <= (SELECT compacted_revision FROM namespaces WHERE name = OLD.namespace) BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE TRIGGER revisions_kept BEFORE DELETE ON revisions WHEN NOT OLD.revision <= (SELECT compacted_revision FROM namespaces WHERE name = OLD.namespace) BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE TRIGGER manifests_kept BEFORE DELETE ON manifests WHEN NOT (SELECT compacted_revision >= revision FROM namespaces WHERE name = OLD.namespace) BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE TRIGGER manifests_appended BEFORE INSERT ON manifests WHEN EXISTS (SELECT 1 FROM manifests WHERE rowid = NEW.rowid) OR EXISTS (SELECT 1 FROM manifests WHERE namespace = NEW.namespace AND digest = NEW.digest) BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE INDEX ix_capsules_form ON capsules (namespace, form, registered_revision, position);
CREATE TABLE "grants" (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	capability TEXT NOT NULL,
	position INTEGER NOT NULL,
	value TEXT NOT NULL,
	generation INTEGER NOT NULL,
	matching TEXT NOT NULL,
	place TEXT NOT NULL,
	read_by TEXT NOT NULL,
	counts INTEGER NOT NULL CONSTRAINT ck_grants_counts_boolean CHECK (counts IN (FALSE, TRUE)),
	CONSTRAINT pk_grants PRIMARY KEY (namespace, capsule_id, capability, position),
	CONSTRAINT fk_grants_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;
CREATE INDEX ix_capsules_rules ON capsules (namespace, rules, registered_revision, position);
CREATE INDEX ix_grants_value ON grants (namespace, capability, value, generation, matching, place, read_by, counts);
CREATE VIEW capability_grants AS
    SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,
        capsules.version, capsules.state, capsules.generation, grants.matching, grants.place,
        grants.read_by
    FROM grants
    JOIN capsules ON capsules.namespace = grants.namespace
        AND capsules.id = grants.capsule_id AND capsules.generation = grants.generation
    WHERE grants.counts;
CREATE TABLE routes (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	direction TEXT NOT NULL,
	topic TEXT NOT NULL,
	matching TEXT NOT NULL,
	place TEXT NOT NULL,
	handler TEXT,
	priority INTEGER,
	wit TEXT,
	pin_kind TEXT,
	pin TEXT,
	fanout INTEGER NOT NULL,
	CONSTRAINT pk_routes PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT ck_routes_fanout_boolean CHECK (fanout IN (FALSE, TRUE)),
	CONSTRAINT ck_routes_direction_known CHECK (direction IN ('publish', 'subscribe')),
	CONSTRAINT fk_routes_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)
 STRICT

;
CREATE TABLE unknown_tools (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	CONSTRAINT pk_unknown_tools PRIMARY KEY (namespace, capsule_id),
	CONSTRAINT fk_unknown_tools_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)
 WITHOUT ROWID,
 STRICT

;
CREATE TABLE commands (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	description TEXT,
	CONSTRAINT pk_commands PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT ck_commands_kind_known CHECK (kind IN ('slash', 'cli')),
	CONSTRAINT fk_commands_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)
 STRICT

;
CREATE TABLE imports (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	interface TEXT NOT NULL,
	requirement TEXT NOT NULL,
	optional INTEGER NOT NULL,
	CONSTRAINT pk_imports PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT ck_imports_optional_boolean CHECK (optional IN (FALSE, TRUE)),
	CONSTRAINT fk_imports_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)
 STRICT

;
CREATE TABLE exports (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	interface TEXT NOT NULL,
	version TEXT NOT NULL,
	CONSTRAINT pk_exports PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT fk_exports_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)
 STRICT

;
CREATE TABLE artifacts (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	generation INTEGER NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	file TEXT NOT NULL,
	hash TEXT NOT NULL,
	CONSTRAINT pk_artifacts PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT ck_artifacts_kind_known CHECK (kind IN ('component', 'asset')),
	CONSTRAINT fk_artifacts_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)
 STRICT

;
CREATE INDEX ix_routes_topic ON routes (namespace, direction, topic);
CREATE INDEX ix_commands_name ON commands (namespace, name);
CREATE INDEX ix_imports_interface ON imports (namespace, interface);
CREATE INDEX ix_exports_interface ON exports (namespace, interface);
CREATE INDEX ix_artifacts_hash ON artifacts (namespace, hash);
CREATE TABLE "tools" (
	namespace TEXT NOT NULL,
	capsule_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	name TEXT NOT NULL,
	description TEXT,
	input_schema TEXT NOT NULL,
	input_schema_wit TEXT,
	schema_known INTEGER NOT NULL CONSTRAINT ck_tools_schema_known_boolean CHECK (schema_known IN (FALSE, TRUE)),
	routed INTEGER NOT NULL CONSTRAINT ck_tools_routed_boolean CHECK (routed IN (FALSE, TRUE)),
	mutable INTEGER NOT NULL CONSTRAINT ck_tools_mutable_boolean CHECK (mutable IN (FALSE, TRUE)),
	CONSTRAINT pk_tools PRIMARY KEY (namespace, capsule_id, position),
	CONSTRAINT fk_tools_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX ix_tools_name ON tools (namespace, name);
CREATE VIEW registered_capsules AS
    SELECT capsules.namespace, capsules.id, capsules.version, capsules.state,
        capsules.state_reason, capsules.generation, capsules.registered_revision,
        capsules.modified_revision, capsules.registered_at, capsules.source_dir,
        capsules.manifest_digest,
        (SELECT count(*) FROM uplinks WHERE uplinks.namespace = capsules.namespace
            AND uplinks.capsule_id = capsules.id) AS uplink_count,
        (SELECT count(*) FROM live_uuids WHERE live_uuids.namespace = capsules.namespace
            AND live_uuids.capsule_id = capsules.id) AS uuid_count,
        (SELECT count(*) FROM tools WHERE tools.namespace = capsules.namespace
            AND tools.capsule_id = capsules.id) AS tool_count,
        capsules.form, capsules.rules,
        CASE
            WHEN EXISTS (SELECT 1 FROM unknown_tools
                WHERE unknown_tools.namespace = capsules.namespace
                    AND unknown_tools.capsule_id = capsules.id) THEN 'unknown'
            WHEN EXISTS (SELECT 1 FROM tools WHERE tools.namespace = capsules.namespace
                AND tools.capsule_id = capsules.id) THEN 'known'
            ELSE 'none' END AS tools,
        capsules.restored_generation
    FROM capsules
    WHERE capsules.registered_at IS NOT NULL;
CREATE VIEW audit_log AS
    SELECT revisions.namespace, revisions.revision, events.position, revisions.committed_at,
        revisions.actor, revisions.database_user, revisions.reason, events.action,
        events.kind, events.subject, events.capsule_id, events.old_row, events.new_row, events.changes
    FROM revisions
    JOIN events ON events.namespace = revisions.namespace
        AND events.revision = revisions.revision;
CREATE VIEW tool_index AS
    SELECT tools.namespace, tools.name, tools.capsule_id, tools.description,
        tools.input_schema, capsules.version, capsules.state, tools.schema_known,
        tools.input_schema_wit, tools.routed, tools.mutable
    FROM tools
    JOIN capsules ON capsules.namespace = tools.namespace
        AND capsules.id = tools.capsule_id;
CREATE VIEW topic_routes AS
    SELECT routes.namespace, routes.topic, routes.direction, routes.handler, routes.priority,
        routes.capsule_id, capsules.state, capsules.version, routes.matching, routes.place,
        routes.wit, routes.pin_kind, routes.pin, routes.fanout
    FROM routes
    JOIN capsules ON capsules.namespace = routes.namespace AND capsules.id = routes.capsule_id;
CREATE VIEW command_index AS
    SELECT commands.namespace, commands.name, commands.kind, commands.capsule_id,
        capsules.state, capsules.version, commands.description
    FROM commands
    JOIN capsules ON capsules.namespace = commands.namespace
        AND capsules.id = commands.capsule_id;
CREATE VIEW artifact_index AS
    SELECT artifacts.namespace, artifacts.hash, artifacts.kind, artifacts.name, artifacts.file,
        artifacts.capsule_id, capsules.state, capsules.version, capsules.generation
    FROM artifacts
    JOIN capsules ON capsules.namespace = artifacts.namespace
        AND capsules.id = artifacts.capsule_id AND capsules.generation = artifacts.generation;
CREATE VIEW import_exporters AS
    SELECT imports.namespace, imports.capsule_id, capsules.state, imports.interface,
        imports.requirement, imports.optional, exports.capsule_id AS exporter,
        exporters.state AS exporter_state, exports.version AS exported_version
    FROM imports
    JOIN capsules ON capsules.namespace = imports.namespace AND capsules.id = imports.capsule_id
    LEFT JOIN exports ON exports.namespace = imports.namespace
        AND exports.interface = imports.interface AND exports.capsule_id <> imports.capsule_id
    LEFT JOIN capsules AS exporters ON exporters.namespace = exports.namespace
        AND exporters.id = exports.capsule_id;
CREATE VIEW right_changes AS
    SELECT events.namespace, events.revision, revisions.committed_at, revisions.actor,
        revisions.database_user, revisions.reason, events.action, events.capsule_id,
        json_extract(entry.value, '$[0]') AS change_kind, json_extract(entry.value, '$[2]') AS capability, json_extract(entry.value, '$[3]') AS value, json_extract(entry.value, '$[4]') AS matching
    FROM events
    JOIN revisions ON revisions.namespace = events.namespace
        AND revisions.revision = events.revision
    JOIN json_each(events.changes) AS entry
    WHERE events.changes IS NOT NULL AND json_extract(entry.value, '$[1]') IN ('right', 'topic');
CREATE TRIGGER events_appended BEFORE INSERT ON events WHEN (NEW.revision > (SELECT revision FROM namespaces WHERE name = NEW.namespace)) IS NOT 1 OR EXISTS (SELECT 1 FROM events WHERE rowid = NEW.rowid) BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
CREATE TRIGGER revisions_appended BEFORE INSERT ON revisions WHEN (NEW.revision > (SELECT revision FROM namespaces WHERE name = NEW.namespace)) IS NOT 1 OR EXISTS (SELECT 1 FROM revisions WHERE rowid = NEW.rowid) OR EXISTS (SELECT 1 FROM revisions WHERE request_id = NEW.request_id) BEGIN SELECT RAISE(ABORT, 'the history is append-only: only pruning deletes, and nothing changes it'); END;
