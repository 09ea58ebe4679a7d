-- What decisions about a version rest on, kept with it: decisions are made again from here at any time.
alter table results.log
    add column nocs           text[] not null default '{}',   -- organisations of its competitors, sorted, at most 250
    add column status_since   timestamptz,                    -- when the document reached the status; null: when the version came
    -- The end of an embargo: which version, for whom, and until when embargoes were over before.
    add column released_seq   bigint,
    add column client_ids     text[],
    add column released_from  timestamptz,
    -- Until when embargoes were over at this place: who may see what is a question to the entry alone.
    add column released_until timestamptz not null default 'epoch';

alter table results.log drop constraint if exists log_kind_check;
alter table results.log drop constraint if exists log_check1;
alter table results.log
    add constraint log_kind_check check (kind in ('document', 'invalidation', 'late', 'entitlement', 'release')),
    add constraint log_raw_check check (kind in ('entitlement', 'release') or (version is not null and raw is not null)),
    add constraint log_release_check check ((kind = 'release') = (released_seq is not null));

-- Embargoes that ended by then are over for the readers of the stream.
alter table results.stream add column released_until timestamptz not null default 'epoch';

alter table results.entitlement add column has_embargo boolean not null default false;
create index entitlement_has_embargo on results.entitlement (client_id) where has_embargo;

-- Every rule that ever held. Never changed.
create table results.entitlement_version (
    client_id  text not null,
    version    bigint not null,
    rules      jsonb not null,
    changed_at timestamptz not null,
    changed_by text not null,
    primary key (client_id, version)
);

-- Where in a stream rights changed, so that a reader that comes back is told what changed for it meanwhile: a client's
-- new rules, or (without a client) embargoes that ended.
create table results.rights_entry (
    stream_id      text not null references results.stream,
    seq            bigint not null,
    client_id      text,
    version        bigint,
    released_until timestamptz not null,
    primary key (stream_id, seq)
);
create index rights_entry_client on results.rights_entry (stream_id, client_id, seq) where client_id is not null;

-- Newest versions that are held back, each for the clients whose embargo ends at due_at.
create table results.embargo (
    stream_id   text not null references results.stream,
    document_id uuid not null references results.document,
    due_at      timestamptz not null,
    seq         bigint not null,                               -- of the version
    client_ids  text[] not null,
    primary key (stream_id, document_id, due_at)
);
create index embargo_due on results.embargo (stream_id, due_at);

-- Decisions that changed, and reads that were refused. The others can be derived.
create table results.access_decision (
    decision_id  uuid primary key,                             -- UUIDv7: in the order of time
    decided_at   timestamptz not null,
    cause        text not null check (cause in ('entitlement', 'release', 'read')),
    client_id    text not null,
    stream_id    text not null references results.stream,
    document_id  uuid not null references results.document,
    seq          bigint not null,                              -- of the version
    entry_seq    bigint,                                       -- of the entry that changed the decision
    permitted    boolean not null,
    reason       text not null,
    rule_client  text,
    rule_version bigint,
    rule_index   integer
);
create index access_decision_client on results.access_decision (client_id, decision_id desc);
-- A reader that asks again and again fills one row.
create unique index access_decision_read on results.access_decision (client_id, stream_id, seq, reason) where cause = 'read';

-- What was set before there was a history.
insert into results.entitlement_version (client_id, version, rules, changed_at, changed_by)
select client_id, version, rules, changed_at, changed_by from results.entitlement;

-- What everyone may read until an operator says otherwise: schedule, results, medals and clocks of production as JSON; no
-- biographies, participants, pictures, originals or messages to staff. The commentators' desk: everything of production as
-- JSON.
with seed as (
    insert into results.entitlement (client_id, version, rules, changed_at, changed_by)
    values ('public', 0, '[{"prefix": "", "feed_flag": "P", "representations": ["json"], "types": [
        "DT_SCHEDULE", "DT_SCHEDULE_UPDATE", "DT_RESULT", "DT_CURRENT", "DT_PHASE_RESULT", "DT_CUMULATIVE_RESULT",
        "DT_POOL_STANDING", "DT_BRACKETS", "DT_PLAY_BY_PLAY", "DT_STATS", "DT_RANKING", "DT_RECORD", "DT_MEDALLISTS",
        "DT_MEDALLISTS_DISCIPLINE", "DT_MEDALLISTS_DAY", "DT_MEDALS", "DT_GLOBAL_GM", "DT_GLOBAL_GN", "DT_LOCAL_ON",
        "DT_LOCAL_OFF", "DT_WEATHER"]}]', 'epoch', 'migration'),
        ('results.cis', 0, '[{"prefix": "", "feed_flag": "P", "representations": ["json"]}]', 'epoch', 'migration')
    on conflict (client_id) do nothing
    returning client_id, version, rules, changed_at, changed_by
)
insert into results.entitlement_version (client_id, version, rules, changed_at, changed_by) select * from seed;
