CREATE TABLE events (
    namespace VARCHAR(63) NOT NULL,
    revision BIGINT NOT NULL,
    position INTEGER NOT NULL,
    action VARCHAR(64) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    subject VARCHAR(128) NOT NULL,
    capsule_id VARCHAR(128),
    old_row TEXT,
    new_row TEXT,
    CONSTRAINT pk_events PRIMARY KEY (namespace, revision, position)
);
CREATE INDEX ix_events_capsule_id ON events (namespace, capsule_id, revision);
CREATE INDEX ix_events_subject ON events (namespace, kind, subject, revision);
CREATE TABLE namespaces (
    name VARCHAR(63) NOT NULL,
    incarnation VARCHAR(36) NOT NULL,
    revision BIGINT NOT NULL,
    head_hash VARCHAR(64) NOT NULL,
    compacted_revision BIGINT NOT NULL,
    last_commit_at VARCHAR(27) NOT NULL,
    CONSTRAINT pk_namespaces PRIMARY KEY (name)
)
 WITHOUT ROWID;
CREATE TABLE schema_versions (
    version VARCHAR(32) NOT NULL,
    applied_at VARCHAR(27) NOT NULL,
    library_version VARCHAR(64) NOT NULL,
    oldest_compatible VARCHAR(32) NOT NULL,
    CONSTRAINT pk_schema_versions PRIMARY KEY (version)
)
 WITHOUT ROWID;
CREATE TABLE leases (
    namespace VARCHAR(63) NOT NULL,
    id VARCHAR(36) NOT NULL,
    name VARCHAR(255) NOT NULL,
    host VARCHAR(255) NOT NULL,
    pid BIGINT NOT NULL,
    actor VARCHAR(255) NOT NULL,
    ttl_ms BIGINT NOT NULL,
    opened_at VARCHAR(27) NOT NULL,
    opened_revision BIGINT NOT NULL,
    expires_at VARCHAR(27) NOT NULL,
    CONSTRAINT pk_leases PRIMARY KEY (namespace, id),
    CONSTRAINT fk_leases_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name)
);
CREATE INDEX ix_leases_expires_at ON leases (namespace, expires_at);
CREATE TABLE manifests (
    namespace VARCHAR(63) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    format VARCHAR(8) NOT NULL,
    text TEXT NOT NULL,
    CONSTRAINT pk_manifests PRIMARY KEY (namespace, digest),
    CONSTRAINT fk_manifests_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
    CONSTRAINT ck_manifests_format_known CHECK (format IN ('toml', 'json'))
);
CREATE TABLE revisions (
    namespace VARCHAR(63) NOT NULL,
    revision BIGINT NOT NULL,
    committed_at VARCHAR(27) NOT NULL,
    actor VARCHAR(255) NOT NULL,
    database_user VARCHAR(255),
    reason TEXT,
    request_id VARCHAR(36) NOT NULL,
    event_count INTEGER NOT NULL,
    previous_hash VARCHAR(64) NOT NULL,
    hash VARCHAR(64) NOT NULL,
    CONSTRAINT pk_revisions PRIMARY KEY (namespace, revision),
    CONSTRAINT fk_revisions_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
    CONSTRAINT uq_revisions_request_id UNIQUE (request_id)
);
CREATE INDEX ix_revisions_committed_at ON revisions (namespace, committed_at);
CREATE TABLE capsules (
    namespace VARCHAR(63) NOT NULL,
    id VARCHAR(128) NOT NULL,
    version TEXT,
    manifest TEXT,
    manifest_digest VARCHAR(64),
    reported_tools TEXT,
    source_dir TEXT,
    state VARCHAR(16),
    state_reason TEXT,
    generation BIGINT,
    registered_revision BIGINT,
    position INTEGER,
    modified_revision BIGINT NOT NULL,
    registered_at VARCHAR(27),
    CONSTRAINT pk_capsules PRIMARY KEY (namespace, id),
    CONSTRAINT fk_capsules_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
    CONSTRAINT fk_capsules_manifests FOREIGN KEY(namespace, manifest_digest) REFERENCES manifests (namespace, digest),
    CONSTRAINT ck_capsules_state_known CHECK (state IN ('unloaded', 'loading', 'ready', 'failed', 'unloading')),
    CONSTRAINT ck_capsules_reserved_or_registered CHECK ((registered_at IS NULL AND source_dir IS NULL AND state_reason IS NULL AND reported_tools IS NULL AND version IS NULL AND manifest IS NULL AND manifest_digest IS NULL AND state IS NULL AND generation IS NULL AND registered_revision IS NULL AND position IS NULL) OR (registered_at IS NOT NULL AND version IS NOT NULL AND manifest IS NOT NULL AND manifest_digest IS NOT NULL AND state IS NOT NULL AND generation IS NOT NULL AND registered_revision IS NOT NULL AND position IS NOT NULL))
);
CREATE INDEX ix_capsules_manifest_digest ON capsules (namespace, manifest_digest);
CREATE INDEX ix_capsules_order ON capsules (namespace, registered_revision, position);
CREATE TABLE grants (
    namespace VARCHAR(63) NOT NULL,
    capsule_id VARCHAR(128) NOT NULL,
    capability VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    value VARCHAR(512) NOT NULL,
    CONSTRAINT pk_grants PRIMARY KEY (namespace, capsule_id, capability, position),
    CONSTRAINT fk_grants_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE INDEX ix_grants_value ON grants (namespace, capability, value);
CREATE TABLE tools (
    namespace VARCHAR(63) NOT NULL,
    capsule_id VARCHAR(128) NOT NULL,
    position INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    description TEXT NOT NULL,
    input_schema TEXT NOT NULL,
    CONSTRAINT pk_tools PRIMARY KEY (namespace, capsule_id, position),
    CONSTRAINT fk_tools_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
);
CREATE INDEX ix_tools_name ON tools (namespace, name);
CREATE TABLE uplinks (
    namespace VARCHAR(63) NOT NULL,
    id VARCHAR(36) NOT NULL,
    capsule_id VARCHAR(128) NOT NULL,
    name VARCHAR(255) NOT NULL,
    platform VARCHAR(255) NOT NULL,
    source_kind VARCHAR(16) NOT NULL,
    source_capsule_id VARCHAR(128),
    profile VARCHAR(16) NOT NULL,
    can_receive BOOLEAN NOT NULL,
    can_send BOOLEAN NOT NULL,
    can_approve BOOLEAN NOT NULL,
    can_elicit BOOLEAN NOT NULL,
    supports_rich_media BOOLEAN NOT NULL,
    supports_threads BOOLEAN NOT NULL,
    supports_buttons BOOLEAN NOT NULL,
    capability_mask SMALLINT GENERATED ALWAYS AS (CASE WHEN can_receive THEN 1 ELSE 0 END + CASE WHEN can_send THEN 2 ELSE 0 END + CASE WHEN can_approve THEN 4 ELSE 0 END + CASE WHEN can_elicit THEN 8 ELSE 0 END + CASE WHEN supports_rich_media THEN 16 ELSE 0 END + CASE WHEN supports_threads THEN 32 ELSE 0 END + CASE WHEN supports_buttons THEN 64 ELSE 0 END) STORED,
    metadata TEXT NOT NULL,
    declared BOOLEAN NOT NULL,
    created_revision BIGINT NOT NULL,
    position INTEGER NOT NULL,
    registered_at VARCHAR(27) NOT NULL,
    CONSTRAINT pk_uplinks PRIMARY KEY (namespace, id),
    CONSTRAINT fk_uplinks_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE,
    CONSTRAINT ck_uplinks_source_kind_known CHECK (source_kind IN ('native', 'wasm', 'open_claw')),
    CONSTRAINT ck_uplinks_profile_known CHECK (profile IN ('chat', 'interactive', 'notify', 'bridge'))
);
CREATE INDEX ix_uplinks_capability_mask ON uplinks (namespace, capability_mask);
CREATE INDEX ix_uplinks_capsule_id ON uplinks (namespace, capsule_id, created_revision, position);
CREATE INDEX ix_uplinks_order ON uplinks (namespace, created_revision, position);
CREATE INDEX ix_uplinks_platform ON uplinks (namespace, platform, created_revision, position);
CREATE INDEX ix_uplinks_profile ON uplinks (namespace, profile);
CREATE TABLE uuid_mappings (
    namespace VARCHAR(63) NOT NULL,
    uuid VARCHAR(36) NOT NULL,
    capsule_id VARCHAR(128) NOT NULL,
    lease_id VARCHAR(36),
    registered_at VARCHAR(27) NOT NULL,
    created_revision BIGINT NOT NULL,
    position INTEGER NOT NULL,
    CONSTRAINT pk_uuid_mappings PRIMARY KEY (namespace, uuid),
    CONSTRAINT fk_uuid_mappings_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE,
    CONSTRAINT fk_uuid_mappings_leases FOREIGN KEY(namespace, lease_id) REFERENCES leases (namespace, id) ON DELETE CASCADE
);
CREATE INDEX ix_uuid_mappings_capsule_id ON uuid_mappings (namespace, capsule_id, created_revision, position);
CREATE INDEX ix_uuid_mappings_lease_id ON uuid_mappings (namespace, lease_id);
