CREATE TABLE IF NOT EXISTS capsule_registry_version (
    version_num VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT capsule_registry_version_pkc PRIMARY KEY (version_num)
)ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS namespaces (
    name VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    incarnation UUID NOT NULL,
    revision BIGINT NOT NULL,
    head_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    compacted_revision BIGINT NOT NULL,
    last_commit_at DATETIME(6) NOT NULL,
    CONSTRAINT pk_namespaces PRIMARY KEY (name)
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS schema_versions (
    version VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    applied_at DATETIME(6) NOT NULL,
    library_version VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    oldest_compatible VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_schema_versions PRIMARY KEY (version)
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS manifests (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    digest VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    format VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    text LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_manifests PRIMARY KEY (namespace, digest),
    CONSTRAINT fk_manifests_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
    CONSTRAINT ck_manifests_format_known CHECK (format IN ('toml', 'json'))
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS revisions (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    revision BIGINT NOT NULL,
    committed_at DATETIME(6) NOT NULL,
    actor VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    database_user VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    request_id UUID NOT NULL,
    event_count INTEGER NOT NULL,
    previous_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_revisions PRIMARY KEY (namespace, revision),
    CONSTRAINT fk_revisions_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
    CONSTRAINT uq_revisions_request_id UNIQUE (request_id)
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS events (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    revision BIGINT NOT NULL,
    `position` INTEGER NOT NULL,
    action VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    kind VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    subject VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    old_row LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    new_row LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    CONSTRAINT pk_events PRIMARY KEY (namespace, revision, `position`)
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS capsules (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    version LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    manifest JSON,
    manifest_digest VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    reported_tools LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    source_dir LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    state VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    state_reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    generation BIGINT,
    registered_revision BIGINT,
    `position` INTEGER,
    modified_revision BIGINT NOT NULL,
    registered_at DATETIME(6),
    CONSTRAINT pk_capsules PRIMARY KEY (namespace, id),
    CONSTRAINT fk_capsules_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
    CONSTRAINT fk_capsules_manifests FOREIGN KEY(namespace, manifest_digest) REFERENCES manifests (namespace, digest),
    CONSTRAINT ck_capsules_state_known CHECK (state IN ('unloaded', 'loading', 'ready', 'failed', 'unloading')),
    CONSTRAINT ck_capsules_reserved_or_registered CHECK ((registered_at IS NULL AND source_dir IS NULL AND state_reason IS NULL AND reported_tools IS NULL AND version IS NULL AND manifest IS NULL AND manifest_digest IS NULL AND state IS NULL AND generation IS NULL AND registered_revision IS NULL AND position IS NULL) OR (registered_at IS NOT NULL AND version IS NOT NULL AND manifest IS NOT NULL AND manifest_digest IS NOT NULL AND state IS NOT NULL AND generation IS NOT NULL AND registered_revision IS NOT NULL AND position IS NOT NULL))
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS uplinks (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    id UUID NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    platform VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    source_kind VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    source_capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    profile VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    can_receive BOOL NOT NULL,
    can_send BOOL NOT NULL,
    can_approve BOOL NOT NULL,
    can_elicit BOOL NOT NULL,
    supports_rich_media BOOL NOT NULL,
    supports_threads BOOL NOT NULL,
    supports_buttons BOOL NOT NULL,
    capability_mask SMALLINT GENERATED ALWAYS AS (CASE WHEN can_receive THEN 1 ELSE 0 END + CASE WHEN can_send THEN 2 ELSE 0 END + CASE WHEN can_approve THEN 4 ELSE 0 END + CASE WHEN can_elicit THEN 8 ELSE 0 END + CASE WHEN supports_rich_media THEN 16 ELSE 0 END + CASE WHEN supports_threads THEN 32 ELSE 0 END + CASE WHEN supports_buttons THEN 64 ELSE 0 END) STORED,
    metadata JSON NOT NULL,
    declared BOOL NOT NULL,
    created_revision BIGINT NOT NULL,
    `position` INTEGER NOT NULL,
    registered_at DATETIME(6) NOT NULL,
    CONSTRAINT pk_uplinks PRIMARY KEY (namespace, id),
    CONSTRAINT fk_uplinks_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE,
    CONSTRAINT ck_uplinks_source_kind_known CHECK (source_kind IN ('native', 'wasm', 'open_claw')),
    CONSTRAINT ck_uplinks_profile_known CHECK (profile IN ('chat', 'interactive', 'notify', 'bridge'))
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS leases (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    id UUID NOT NULL,
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    host VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    pid BIGINT NOT NULL,
    actor VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    ttl_ms BIGINT NOT NULL,
    opened_at DATETIME(6) NOT NULL,
    opened_revision BIGINT NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    boot_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    expires_uptime_ms BIGINT,
    expired_at DATETIME(6),
    CONSTRAINT pk_leases PRIMARY KEY (namespace, id),
    CONSTRAINT fk_leases_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name)
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS uuid_mappings (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    uuid UUID NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    lease_id UUID,
    registered_at DATETIME(6) NOT NULL,
    created_revision BIGINT NOT NULL,
    `position` INTEGER NOT NULL,
    CONSTRAINT pk_uuid_mappings PRIMARY KEY (namespace, uuid),
    CONSTRAINT fk_uuid_mappings_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE,
    CONSTRAINT fk_uuid_mappings_leases FOREIGN KEY(namespace, lease_id) REFERENCES leases (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS tools (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    description LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    input_schema JSON NOT NULL,
    CONSTRAINT pk_tools PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT fk_tools_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS grants (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capability VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    value VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_grants PRIMARY KEY (namespace, capsule_id, capability, `position`),
    CONSTRAINT fk_grants_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS interceptors (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    event VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    action LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_interceptors PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT fk_interceptors_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS provisions (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    kind VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capability VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_provisions PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT fk_provisions_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS requirements (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    kind VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capability VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_requirements PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT fk_requirements_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE INDEX IF NOT EXISTS ix_capsules_manifest_digest ON capsules (namespace, manifest_digest);
CREATE INDEX IF NOT EXISTS ix_capsules_order ON capsules (namespace, registered_revision, `position`);
CREATE INDEX IF NOT EXISTS ix_capsules_state ON capsules (namespace, state, registered_revision, `position`);
CREATE INDEX IF NOT EXISTS ix_events_capsule_id ON events (namespace, capsule_id, revision);
CREATE INDEX IF NOT EXISTS ix_events_subject ON events (namespace, kind, subject, revision);
CREATE INDEX IF NOT EXISTS ix_grants_value ON grants (namespace, capability, value);
CREATE INDEX IF NOT EXISTS ix_interceptors_event ON interceptors (namespace, event);
CREATE INDEX IF NOT EXISTS ix_leases_expires_at ON leases (namespace, expires_at);
CREATE INDEX IF NOT EXISTS ix_provisions_kind ON provisions (namespace, kind);
CREATE INDEX IF NOT EXISTS ix_requirements_kind ON requirements (namespace, kind);
CREATE INDEX IF NOT EXISTS ix_revisions_committed_at ON revisions (namespace, committed_at);
CREATE INDEX IF NOT EXISTS ix_tools_name ON tools (namespace, name);
CREATE INDEX IF NOT EXISTS ix_uplinks_capability_mask ON uplinks (namespace, capability_mask);
CREATE INDEX IF NOT EXISTS ix_uplinks_capsule_id ON uplinks (namespace, capsule_id, created_revision, `position`);
CREATE INDEX IF NOT EXISTS ix_uplinks_order ON uplinks (namespace, created_revision, `position`);
CREATE INDEX IF NOT EXISTS ix_uplinks_platform ON uplinks (namespace, platform, created_revision, `position`);
CREATE INDEX IF NOT EXISTS ix_uplinks_profile ON uplinks (namespace, profile);
CREATE INDEX IF NOT EXISTS ix_uuid_mappings_capsule_id ON uuid_mappings (namespace, capsule_id, created_revision, `position`);
CREATE INDEX IF NOT EXISTS ix_uuid_mappings_lease_id ON uuid_mappings (namespace, lease_id);
CREATE OR REPLACE SQL SECURITY INVOKER VIEW live_uuids AS
        SELECT uuid_mappings.namespace, uuid_mappings.uuid, uuid_mappings.capsule_id,
            capsules.state, capsules.generation, uuid_mappings.lease_id, leases.expires_at,
            uuid_mappings.registered_at
        FROM uuid_mappings
        JOIN capsules ON capsules.namespace = uuid_mappings.namespace
            AND capsules.id = uuid_mappings.capsule_id
        LEFT JOIN leases ON leases.namespace = uuid_mappings.namespace
            AND leases.id = uuid_mappings.lease_id
        WHERE uuid_mappings.lease_id IS NULL OR leases.expires_at > UTC_TIMESTAMP(6);
CREATE OR REPLACE SQL SECURITY INVOKER VIEW registered_capsules AS
        SELECT capsules.namespace, capsules.id, capsules.version, capsules.state,
            capsules.state_reason, capsules.generation, capsules.registered_revision,
            capsules.modified_revision, capsules.registered_at, capsules.source_dir,
            capsules.manifest_digest,
            (SELECT count(*) FROM uplinks WHERE uplinks.namespace = capsules.namespace
                AND uplinks.capsule_id = capsules.id) AS uplink_count,
            (SELECT count(*) FROM live_uuids WHERE live_uuids.namespace = capsules.namespace
                AND live_uuids.capsule_id = capsules.id) AS uuid_count,
            (SELECT count(*) FROM tools WHERE tools.namespace = capsules.namespace
                AND tools.capsule_id = capsules.id) AS tool_count
        FROM capsules
        WHERE capsules.registered_at IS NOT NULL;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW audit_log AS
        SELECT revisions.namespace, revisions.revision, events.position, revisions.committed_at,
            revisions.actor, revisions.database_user, revisions.reason, events.action,
            events.kind, events.subject, events.capsule_id, events.old_row, events.new_row
        FROM revisions
        JOIN events ON events.namespace = revisions.namespace
            AND events.revision = revisions.revision;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW capsule_history AS
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
                        JSON_VALUE(events.new_row, '$.version') AS version, JSON_VALUE(events.new_row, '$.manifest_digest') AS manifest_digest,
                        CAST(LEFT(REPLACE(JSON_VALUE(events.new_row, '$.registered_at'), 'T', ' '), 26) AS DATETIME(6)) AS from_time, CAST(JSON_VALUE(events.new_row, '$.generation') AS SIGNED) AS generation,
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
CREATE OR REPLACE SQL SECURITY INVOKER VIEW capability_grants AS
        SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,
            capsules.version, capsules.state, capsules.generation
        FROM grants
        JOIN capsules ON capsules.namespace = grants.namespace
            AND capsules.id = grants.capsule_id;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW tool_index AS
        SELECT tools.namespace, tools.name, tools.capsule_id, tools.description,
            tools.input_schema, capsules.version, capsules.state
        FROM tools
        JOIN capsules ON capsules.namespace = tools.namespace
            AND capsules.id = tools.capsule_id;
CREATE OR REPLACE TRIGGER events_unchanged BEFORE UPDATE ON events FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the history is append-only: only pruning deletes, and nothing changes it';
CREATE OR REPLACE TRIGGER revisions_unchanged BEFORE UPDATE ON revisions FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the history is append-only: only pruning deletes, and nothing changes it';
CREATE OR REPLACE TRIGGER manifests_unchanged BEFORE UPDATE ON manifests FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the history is append-only: only pruning deletes, and nothing changes it';
CREATE OR REPLACE TRIGGER events_kept BEFORE DELETE ON events FOR EACH ROW IF NOT OLD.revision <= (SELECT compacted_revision FROM namespaces WHERE name = OLD.namespace) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the history is append-only: only pruning deletes, and nothing changes it'; END IF;
CREATE OR REPLACE TRIGGER revisions_kept BEFORE DELETE ON revisions FOR EACH ROW IF NOT OLD.revision <= (SELECT compacted_revision FROM namespaces WHERE name = OLD.namespace) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the history is append-only: only pruning deletes, and nothing changes it'; END IF;
CREATE OR REPLACE TRIGGER manifests_kept BEFORE DELETE ON manifests FOR EACH ROW IF NOT (SELECT compacted_revision >= revision FROM namespaces WHERE name = OLD.namespace) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the history is append-only: only pruning deletes, and nothing changes it'; END IF;
DELETE FROM schema_versions WHERE schema_versions.version = 'v0001';
ALTER TABLE capsules ADD COLUMN IF NOT EXISTS created_revision BIGINT NOT NULL DEFAULT '0';
ALTER TABLE capsules ALTER COLUMN created_revision DROP DEFAULT;
ALTER TABLE grants ADD COLUMN IF NOT EXISTS generation BIGINT NOT NULL DEFAULT '0';
ALTER TABLE grants ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_can_receive_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_can_receive_boolean CHECK (can_receive IN (FALSE, TRUE));
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_can_send_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_can_send_boolean CHECK (can_send IN (FALSE, TRUE));
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_can_approve_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_can_approve_boolean CHECK (can_approve IN (FALSE, TRUE));
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_can_elicit_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_can_elicit_boolean CHECK (can_elicit IN (FALSE, TRUE));
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_supports_rich_media_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_supports_rich_media_boolean CHECK (supports_rich_media IN (FALSE, TRUE));
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_supports_threads_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_supports_threads_boolean CHECK (supports_threads IN (FALSE, TRUE));
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_supports_buttons_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_supports_buttons_boolean CHECK (supports_buttons IN (FALSE, TRUE));
ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_declared_boolean;
ALTER TABLE uplinks ADD CONSTRAINT ck_uplinks_declared_boolean CHECK (declared IN (FALSE, TRUE));
CREATE OR REPLACE SQL SECURITY INVOKER VIEW live_uuids AS
    SELECT uuid_mappings.namespace, uuid_mappings.uuid, uuid_mappings.capsule_id,
        capsules.state, capsules.generation, uuid_mappings.lease_id, leases.expires_at,
        uuid_mappings.registered_at
    FROM uuid_mappings
    JOIN capsules ON capsules.namespace = uuid_mappings.namespace
        AND capsules.id = uuid_mappings.capsule_id
        AND capsules.created_revision <= uuid_mappings.created_revision
    LEFT JOIN leases ON leases.namespace = uuid_mappings.namespace
        AND leases.id = uuid_mappings.lease_id
    WHERE uuid_mappings.lease_id IS NULL OR leases.expires_at > UTC_TIMESTAMP(6);
CREATE OR REPLACE SQL SECURITY INVOKER VIEW capability_grants AS
    SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,
        capsules.version, capsules.state, capsules.generation
    FROM grants
    JOIN capsules ON capsules.namespace = grants.namespace
        AND capsules.id = grants.capsule_id AND capsules.generation = grants.generation;
UPDATE capsules SET created_revision = coalesce((
        SELECT max(events.revision) FROM events
        WHERE events.namespace = capsules.namespace AND events.kind = 'capsules'
            AND events.subject = capsules.id AND events.old_row IS NULL), 0);
UPDATE grants SET generation = coalesce((
        SELECT capsules.generation FROM capsules
        WHERE capsules.namespace = grants.namespace AND capsules.id = grants.capsule_id), 0);
DROP INDEX IF EXISTS ix_grants_value ON grants;
CREATE INDEX ix_grants_value ON grants (namespace, capability, value, generation);
DELETE FROM schema_versions WHERE schema_versions.version = 'v0002';
ALTER TABLE capsules ADD COLUMN IF NOT EXISTS form VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin DEFAULT 'legacy' NOT NULL;
ALTER TABLE capsules DROP CONSTRAINT IF EXISTS ck_capsules_form_known;
ALTER TABLE capsules ADD CONSTRAINT ck_capsules_form_known CHECK (form IN ('legacy', 'today', 'mixed'));
CREATE OR REPLACE SQL SECURITY INVOKER VIEW registered_capsules AS
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
        capsules.form
    FROM capsules
    WHERE capsules.registered_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS ix_capsules_form ON capsules (namespace, form, registered_revision, `position`);
DELETE FROM schema_versions WHERE schema_versions.version = 'v0003';
ALTER TABLE namespaces ADD COLUMN IF NOT EXISTS runtime_version VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
ALTER TABLE capsules ADD COLUMN IF NOT EXISTS rules VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin DEFAULT 'original' NOT NULL;
ALTER TABLE grants ADD COLUMN IF NOT EXISTS matching VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT 'nothing';
ALTER TABLE grants ALTER COLUMN matching DROP DEFAULT;
ALTER TABLE grants ADD COLUMN IF NOT EXISTS place VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT 'capabilities';
ALTER TABLE grants ALTER COLUMN place DROP DEFAULT;
ALTER TABLE grants ADD COLUMN IF NOT EXISTS read_by VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT '*';
ALTER TABLE grants ALTER COLUMN read_by DROP DEFAULT;
ALTER TABLE grants ADD COLUMN IF NOT EXISTS counts BOOL NOT NULL DEFAULT FALSE;
ALTER TABLE grants ALTER COLUMN counts DROP DEFAULT;
ALTER TABLE interceptors ADD COLUMN IF NOT EXISTS priority BIGINT DEFAULT 100 NOT NULL;
ALTER TABLE grants DROP CONSTRAINT IF EXISTS ck_grants_counts_boolean;
ALTER TABLE grants ADD CONSTRAINT ck_grants_counts_boolean CHECK (counts IN (FALSE, TRUE));
UPDATE grants SET counts = TRUE, matching = CASE
        WHEN capability IN ('ipc_publish', 'ipc_subscribe') THEN 'segments'
        WHEN capability = 'net' THEN 'host_any_case'
        WHEN capability = 'net_bind' THEN 'any_or_bind'
        WHEN capability IN ('fs_read', 'fs_write') THEN 'written_path'
        WHEN capability = 'host_process' THEN 'command'
        WHEN capability = 'identity' THEN 'level'
        WHEN capability = 'kv' THEN 'key'
        WHEN capability IN ('uplink', 'allow_prompt_injection') THEN 'flag'
        ELSE 'nothing' END;
CREATE INDEX IF NOT EXISTS ix_capsules_rules ON capsules (namespace, rules, registered_revision, `position`);
DROP INDEX IF EXISTS ix_grants_value ON grants;
CREATE INDEX ix_grants_value ON grants (namespace, capability, value, generation, matching, place, read_by, counts);
CREATE OR REPLACE SQL SECURITY INVOKER VIEW registered_capsules AS
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
        capsules.form, capsules.rules
    FROM capsules
    WHERE capsules.registered_at IS NOT NULL;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW capability_grants AS
    SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,
        capsules.version, capsules.state, capsules.generation, grants.matching, grants.place,
        grants.read_by
    FROM grants
    JOIN capsules ON capsules.namespace = grants.namespace
        AND capsules.id = grants.capsule_id AND capsules.generation = grants.generation
    WHERE grants.counts;
DELETE FROM schema_versions WHERE schema_versions.version = 'v0004';
CREATE TABLE IF NOT EXISTS routes (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    direction VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    topic VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    matching VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    place VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    handler LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    priority BIGINT,
    wit LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    pin_kind VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    pin LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    fanout BOOL NOT NULL,
    CONSTRAINT pk_routes PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT ck_routes_fanout_boolean CHECK (fanout IN (FALSE, TRUE)),
    CONSTRAINT ck_routes_direction_known CHECK (direction IN ('publish', 'subscribe')),
    CONSTRAINT fk_routes_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS unknown_tools (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_unknown_tools PRIMARY KEY (namespace, capsule_id),
    CONSTRAINT fk_unknown_tools_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS commands (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    kind VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    description LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    CONSTRAINT pk_commands PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT ck_commands_kind_known CHECK (kind IN ('slash', 'cli')),
    CONSTRAINT fk_commands_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS imports (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    interface VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    requirement LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    optional BOOL NOT NULL,
    CONSTRAINT pk_imports PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT ck_imports_optional_boolean CHECK (optional IN (FALSE, TRUE)),
    CONSTRAINT fk_imports_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS exports (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    interface VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    version LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_exports PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT fk_exports_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE TABLE IF NOT EXISTS artifacts (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    generation BIGINT NOT NULL,
    kind VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    name LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    file LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    hash VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_artifacts PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT ck_artifacts_kind_known CHECK (kind IN ('component', 'asset')),
    CONSTRAINT fk_artifacts_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
CREATE INDEX IF NOT EXISTS ix_routes_topic ON routes (namespace, direction, topic);
CREATE INDEX IF NOT EXISTS ix_commands_name ON commands (namespace, name);
CREATE INDEX IF NOT EXISTS ix_imports_interface ON imports (namespace, interface);
CREATE INDEX IF NOT EXISTS ix_exports_interface ON exports (namespace, interface);
CREATE INDEX IF NOT EXISTS ix_artifacts_hash ON artifacts (namespace, hash);
ALTER TABLE events ADD COLUMN IF NOT EXISTS changes LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
ALTER TABLE capsules ADD COLUMN IF NOT EXISTS restored_generation BIGINT;
ALTER TABLE tools ADD COLUMN IF NOT EXISTS input_schema_wit LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
ALTER TABLE tools ADD COLUMN IF NOT EXISTS schema_known BOOL DEFAULT TRUE NOT NULL;
ALTER TABLE tools ALTER COLUMN schema_known DROP DEFAULT;
ALTER TABLE tools DROP CONSTRAINT IF EXISTS ck_tools_schema_known_boolean;
ALTER TABLE tools ADD CONSTRAINT ck_tools_schema_known_boolean CHECK (schema_known IN (FALSE, TRUE));
ALTER TABLE tools ADD COLUMN IF NOT EXISTS routed BOOL DEFAULT TRUE NOT NULL;
ALTER TABLE tools ALTER COLUMN routed DROP DEFAULT;
ALTER TABLE tools DROP CONSTRAINT IF EXISTS ck_tools_routed_boolean;
ALTER TABLE tools ADD CONSTRAINT ck_tools_routed_boolean CHECK (routed IN (FALSE, TRUE));
ALTER TABLE tools ADD COLUMN IF NOT EXISTS mutable BOOL DEFAULT FALSE NOT NULL;
ALTER TABLE tools ALTER COLUMN mutable DROP DEFAULT;
ALTER TABLE tools DROP CONSTRAINT IF EXISTS ck_tools_mutable_boolean;
ALTER TABLE tools ADD CONSTRAINT ck_tools_mutable_boolean CHECK (mutable IN (FALSE, TRUE));
ALTER TABLE tools MODIFY description LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW registered_capsules AS
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
CREATE OR REPLACE SQL SECURITY INVOKER VIEW audit_log AS
    SELECT revisions.namespace, revisions.revision, events.position, revisions.committed_at,
        revisions.actor, revisions.database_user, revisions.reason, events.action,
        events.kind, events.subject, events.capsule_id, events.old_row, events.new_row, events.changes
    FROM revisions
    JOIN events ON events.namespace = revisions.namespace
        AND events.revision = revisions.revision;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW tool_index AS
    SELECT tools.namespace, tools.name, tools.capsule_id, tools.description,
        tools.input_schema, capsules.version, capsules.state, tools.schema_known,
        tools.input_schema_wit, tools.routed, tools.mutable
    FROM tools
    JOIN capsules ON capsules.namespace = tools.namespace
        AND capsules.id = tools.capsule_id;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW topic_routes AS
    SELECT routes.namespace, routes.topic, routes.direction, routes.handler, routes.priority,
        routes.capsule_id, capsules.state, capsules.version, routes.matching, routes.place,
        routes.wit, routes.pin_kind, routes.pin, routes.fanout
    FROM routes
    JOIN capsules ON capsules.namespace = routes.namespace AND capsules.id = routes.capsule_id;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW command_index AS
    SELECT commands.namespace, commands.name, commands.kind, commands.capsule_id,
        capsules.state, capsules.version, commands.description
    FROM commands
    JOIN capsules ON capsules.namespace = commands.namespace
        AND capsules.id = commands.capsule_id;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW artifact_index AS
    SELECT artifacts.namespace, artifacts.hash, artifacts.kind, artifacts.name, artifacts.file,
        artifacts.capsule_id, capsules.state, capsules.version, capsules.generation
    FROM artifacts
    JOIN capsules ON capsules.namespace = artifacts.namespace
        AND capsules.id = artifacts.capsule_id AND capsules.generation = artifacts.generation;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW import_exporters AS
    SELECT imports.namespace, imports.capsule_id, capsules.state, imports.interface,
        imports.requirement, imports.optional, exports.capsule_id AS exporter,
        exporters.state AS exporter_state, exports.version AS exported_version
    FROM imports
    JOIN capsules ON capsules.namespace = imports.namespace AND capsules.id = imports.capsule_id
    LEFT JOIN exports ON exports.namespace = imports.namespace
        AND exports.interface = imports.interface AND exports.capsule_id <> imports.capsule_id
    LEFT JOIN capsules AS exporters ON exporters.namespace = exports.namespace
        AND exporters.id = exports.capsule_id;
CREATE OR REPLACE SQL SECURITY INVOKER VIEW right_changes AS
    SELECT events.namespace, events.revision, revisions.committed_at, revisions.actor,
        revisions.database_user, revisions.reason, events.action, events.capsule_id,
        json_value(events.changes, concat('$[', entry.seq, '][0]')) AS change_kind, json_value(events.changes, concat('$[', entry.seq, '][2]')) AS capability, json_value(events.changes, concat('$[', entry.seq, '][3]')) AS value, json_value(events.changes, concat('$[', entry.seq, '][4]')) AS matching
    FROM events
    JOIN revisions ON revisions.namespace = events.namespace
        AND revisions.revision = events.revision
    JOIN seq_0_to_65535 AS entry ON entry.seq < json_length(events.changes)
    WHERE events.changes IS NOT NULL AND json_value(events.changes, concat('$[', entry.seq, '][1]')) IN ('right', 'topic');
DELETE FROM schema_versions WHERE schema_versions.version = 'v0005';
DELETE FROM schema_versions WHERE schema_versions.version = 'v0006';
DELETE FROM capsule_registry_version;
