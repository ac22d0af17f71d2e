CREATE TABLE events (
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
);
CREATE INDEX ix_events_capsule_id ON events (namespace, capsule_id, revision);
CREATE INDEX ix_events_subject ON events (namespace, kind, subject, revision);
CREATE TABLE namespaces (
    name VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    incarnation UUID NOT NULL,
    revision BIGINT NOT NULL,
    head_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    compacted_revision BIGINT NOT NULL,
    last_commit_at DATETIME(6) NOT NULL,
    CONSTRAINT pk_namespaces PRIMARY KEY (name)
);
CREATE TABLE schema_versions (
    version VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    applied_at DATETIME(6) NOT NULL,
    library_version VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    oldest_compatible VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_schema_versions PRIMARY KEY (version)
);
CREATE TABLE leases (
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
    CONSTRAINT pk_leases PRIMARY KEY (namespace, id),
    CONSTRAINT fk_leases_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name)
);
CREATE INDEX ix_leases_expires_at ON leases (namespace, expires_at);
CREATE TABLE manifests (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    digest VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    format VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    text LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_manifests PRIMARY KEY (namespace, digest),
    CONSTRAINT fk_manifests_namespaces FOREIGN KEY(namespace) REFERENCES namespaces (name),
    CONSTRAINT ck_manifests_format_known CHECK (format IN ('toml', 'json'))
);
CREATE TABLE revisions (
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
);
CREATE INDEX ix_revisions_committed_at ON revisions (namespace, committed_at);
CREATE TABLE capsules (
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
);
CREATE INDEX ix_capsules_manifest_digest ON capsules (namespace, manifest_digest);
CREATE INDEX ix_capsules_order ON capsules (namespace, registered_revision, `position`);
CREATE TABLE grants (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capability VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    value VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    CONSTRAINT pk_grants PRIMARY KEY (namespace, capsule_id, capability, `position`),
    CONSTRAINT fk_grants_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
);
CREATE INDEX ix_grants_value ON grants (namespace, capability, value);
CREATE TABLE tools (
    namespace VARCHAR(63) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    capsule_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    `position` INTEGER NOT NULL,
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    description LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    input_schema JSON NOT NULL,
    CONSTRAINT pk_tools PRIMARY KEY (namespace, capsule_id, `position`),
    CONSTRAINT fk_tools_capsules FOREIGN KEY(namespace, capsule_id) REFERENCES capsules (namespace, id) ON DELETE CASCADE
);
CREATE INDEX ix_tools_name ON tools (namespace, name);
CREATE TABLE uplinks (
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
);
CREATE INDEX ix_uplinks_capability_mask ON uplinks (namespace, capability_mask);
CREATE INDEX ix_uplinks_capsule_id ON uplinks (namespace, capsule_id, created_revision, `position`);
CREATE INDEX ix_uplinks_order ON uplinks (namespace, created_revision, `position`);
CREATE INDEX ix_uplinks_platform ON uplinks (namespace, platform, created_revision, `position`);
CREATE INDEX ix_uplinks_profile ON uplinks (namespace, profile);
CREATE TABLE uuid_mappings (
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
);
CREATE INDEX ix_uuid_mappings_capsule_id ON uuid_mappings (namespace, capsule_id, created_revision, `position`);
CREATE INDEX ix_uuid_mappings_lease_id ON uuid_mappings (namespace, lease_id);
