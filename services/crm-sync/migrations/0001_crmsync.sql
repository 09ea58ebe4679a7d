create schema if not exists crmsync;

-- A recipient's system. `epoch` is raised by each runner that takes it over; a chunk changes state only under the epoch of
-- the runner that holds it, so that one that lost its lock cannot write behind its successor's back.
create table crmsync.destination (
    destination_id uuid primary key,
    name           text not null constraint destination_name unique,
    kind           text not null check (kind in ('salesforce')),
    recipient      text not null,
    state          text not null check (state in ('draft', 'active', 'paused', 'archived')),
    settings       jsonb not null,                      -- how it is reached; never a secret
    epoch          bigint not null default 0,
    version        bigint not null default 1,
    created_at     timestamptz not null,
    changed_at     timestamptz not null
);

-- Which secret opens a destination: the name of a setting of the service, never the secret.
create table crmsync.credential (
    destination_id uuid primary key references crmsync.destination,
    setting        text not null
);

create table crmsync.destination_object (
    object_id          uuid primary key,
    destination_id     uuid not null unique references crmsync.destination,  -- one object a destination, so far
    name               text not null,
    match_key_field    text not null,
    sync_mode          text not null check (sync_mode in ('upsert')),
    on_cease           text not null check (on_cease in ('suppress')),
    agreement_id       uuid,
    mapping_version_id uuid
);

-- Never changed after it was published: ledger rows name its fields by place.
create table crmsync.mapping_version (
    mapping_version_id uuid primary key,
    object_id          uuid not null references crmsync.destination_object,
    number             integer not null check (number > 0),
    state              text not null check (state in ('draft', 'published')),
    fields             jsonb not null,
    sha256             bytea not null,
    created_by         text not null,
    created_at         timestamptz not null,
    published_at       timestamptz,
    unique (object_id, number)
);

create table crmsync.agreement (
    agreement_id uuid primary key,                      -- the signed one
    object_id    uuid not null references crmsync.destination_object,
    state        text not null check (state in ('proposed', 'active', 'suspended', 'ended')),
    token        text not null,                         -- as it was signed: the proof
    sha256       bytea not null,
    proposed_by  text not null,
    activated_by text,
    created_at   timestamptz not null,
    changed_at   timestamptz not null,
    check (activated_by is distinct from proposed_by)
);
create unique index agreement_in_force on crmsync.agreement (object_id) where state in ('active', 'suspended');

alter table crmsync.destination_object
    add foreign key (agreement_id) references crmsync.agreement,
    add foreign key (mapping_version_id) references crmsync.mapping_version;

-- The projection: the newest profile and the newest consents of a person, each with its version, since they come on two
-- topics in no order. `ordinal` is dense: loads go by ranges of it.
create table crmsync.subject (
    profile_id      uuid primary key,
    ordinal         bigint not null generated always as identity unique,
    profile_version bigint not null default 0,
    consent_version bigint not null default 0,
    state           text not null default 'unknown',
    restricted      boolean not null default false,
    locale          text,
    email           bytea,                              -- exact bytes: some addresses in use break RFC 5321
    traits          jsonb not null default '{}',
    heads           jsonb not null default '[]',
    changed_at      timestamptz not null
) with (fillfactor = 80);

-- Who has to be looked at again, for the change and cease lanes. Bursts collapse: one row a person and object, whose
-- revision tells the runner whether somebody came in between.
create table crmsync.pending (
    object_id   uuid not null references crmsync.destination_object,
    profile_id  uuid not null,
    lane        text not null check (lane in ('cease', 'change')),
    revision    bigint not null default 1,
    forced      boolean not null default false,         -- send even what seems unchanged: the recipient may hold something older
    tries       integer not null default 0,
    not_before  timestamptz not null,
    since       timestamptz not null,
    traceparent text,
    links       text[] not null default '{}',           -- traces of the changes that collapsed into this row
    primary key (object_id, profile_id)
);
create index pending_due on crmsync.pending (object_id, lane, since);

create table crmsync.sync_run (
    run_id       uuid primary key,
    object_id    uuid not null references crmsync.destination_object,
    state        text not null check (state in ('planned', 'running', 'settled', 'failed')),
    counts       jsonb not null,
    cursor       bigint not null,                       -- next ordinal; moves as a chunk settles
    last_ordinal bigint not null,
    failure      text,
    traceparent  text,
    created_by   text not null,
    applied_by   text,
    created_at   timestamptz not null,
    ended_at     timestamptz
);
-- One load at a time and object.
create unique index sync_run_running on crmsync.sync_run (object_id) where state = 'running';

create table crmsync.plan (
    run_id uuid primary key references crmsync.sync_run,
    hash   text not null,
    body   jsonb not null
);

-- One job or call. A commit for each state.
create table crmsync.chunk (
    chunk_id     uuid primary key,
    object_id    uuid not null references crmsync.destination_object,
    run_id       uuid references crmsync.sync_run,
    lane         text not null check (lane in ('load', 'change', 'cease')),
    state        text not null check (state in
                     ('intent', 'open', 'loaded', 'closing', 'closed', 'finished', 'settled', 'abandoned')),
    from_ordinal bigint not null default 0,
    to_ordinal   bigint not null default 0,
    job_id       text,
    rows         bigint not null default 0,
    counts       jsonb not null,                        -- people of its range that need no row
    agreement_id uuid references crmsync.agreement,
    mapping_version_id uuid references crmsync.mapping_version, -- its ledger's masks are by this one
    intent_at    timestamptz not null,
    changed_at   timestamptz not null
);
create index chunk_live on crmsync.chunk (object_id) where state not in ('settled', 'abandoned');
create index chunk_job on crmsync.chunk (job_id) where job_id is not null;

-- Who was sent live while a load chunk was under way: they go out again when it has ended, or its older row would undo it.
create table crmsync.follow_up (
    chunk_id    uuid not null references crmsync.chunk,
    profile_id  uuid not null,
    lane        text not null,
    traceparent text,
    primary key (chunk_id, profile_id)
);

-- The ledger: what was decided about whom, written before it goes out. Masks are by place in the mapping version.
create table crmsync.delivery (
    delivery_id        bigint generated always as identity primary key,
    object_id          uuid not null references crmsync.destination_object,
    chunk_id           uuid references crmsync.chunk,
    run_id             uuid references crmsync.sync_run,
    lane               text not null,
    profile_id         uuid,                            -- nulled by an erasure
    profile_version    bigint not null,
    consent_version    bigint not null,
    verdict            text not null check (verdict in ('deliver', 'cease', 'withhold')),
    reason             text not null default '',
    permitted          bigint not null,
    sent               bigint not null,
    cleared            bigint not null,
    row_hash           bytea,                           -- keyed
    decision_id        bytea not null,
    agreement_id       uuid,
    mapping_version_id uuid not null references crmsync.mapping_version,
    outcome            text not null check (outcome in
                           ('none', 'open', 'delivered', 'failed', 'never_processed', 'unanswered')),
    at                 timestamptz not null,
    settled_at         timestamptz
);
create index delivery_profile on crmsync.delivery (profile_id, delivery_id desc);
create index delivery_chunk on crmsync.delivery (chunk_id, profile_id);
create index delivery_decision on crmsync.delivery (decision_id);

-- Rows that the recipient refused, or that could not be made. Codes and names of fields, never a text: those quote values.
create table crmsync.delivery_failure (
    delivery_failure_id bigint generated always as identity primary key,
    object_id           uuid not null references crmsync.destination_object,
    chunk_id            uuid references crmsync.chunk,
    run_id              uuid references crmsync.sync_run,
    profile_id          uuid not null,
    decision_id         bytea not null,
    class               text not null,
    code                text not null,
    fields              text[] not null default '{}',
    at                  timestamptz not null
);
create index delivery_failure_run on crmsync.delivery_failure (run_id, delivery_failure_id);
create index delivery_failure_profile on crmsync.delivery_failure (profile_id);

-- What the recipient holds by our last acknowledged row. No values.
create table crmsync.shadow (
    object_id       uuid not null references crmsync.destination_object,
    profile_id      uuid not null,
    record_id       text not null default '',
    profile_version bigint not null,
    consent_version bigint not null,
    row_hash        bytea not null,                     -- keyed
    held            text[] not null,                    -- fields that have a value there from us
    ceased          boolean not null,
    decision_id     bytea not null,
    settled_at      timestamptz not null,
    primary key (object_id, profile_id)
) with (fillfactor = 80);

-- Writes that were done, by the caller's id, so that a repeat has the first one's effect. Kept for 24 h.
create table crmsync.request (
    request_id  uuid primary key,
    body_sha256 bytea not null,
    made        uuid not null,                          -- what the first one made
    at          timestamptz not null
);
create index request_at on crmsync.request (at);

-- cache 1 (the default, spelled out): a session that drew a range of numbers ahead would use an old one later, and
-- two facts of one aggregate would be sent in the wrong order.
create sequence crmsync.outbox_seq cache 1;

-- Where a row stands among the windows that the relay reads: the greater of its transaction's id and the highest
-- transaction id that was over when the row was appended.
-- The raw transaction id would be a wrong key: a transaction that got its id early (an inbox claim does that) may wait
-- for the aggregate and commit second with the smaller id. The first one gives the aggregate up before the second
-- takes it, so the second one's append sees the first as over, and its position is not smaller. Rows of one position
-- are ordered by seq, which is drawn under the aggregate's lock.
-- Volatile and a function on purpose: it takes its own snapshot. An inline expression would read the statement's
-- snapshot, taken before the wait for the lock, when lock and append are one statement, and would invert the order.
create function crmsync.outbox_position() returns bigint language plpgsql volatile as $$ begin
    return greatest((pg_current_xact_id()::text)::bigint, (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint - 1);
end $$;

-- Facts on their way to Kafka. id, aggregatetype (the topic), aggregateid (the key), type and payload are the names of
-- Debezium's outbox router, so that a site may put it in the place of our relay. A payload of null is a tombstone.
create table crmsync.outbox (
    day           date        not null default (clock_timestamp() at time zone 'utc')::date, -- not now(): that is the transaction's start
    seq           bigint      not null default nextval('crmsync.outbox_seq'),
    position      bigint      not null default crmsync.outbox_position(),
    id            uuid        not null,
    aggregatetype text        not null,
    aggregateid   text        not null,
    type          text        not null,
    payload       bytea,
    version       bigint      not null,
    occurred_at   timestamptz not null,
    traceparent   text,
    tracestate    text,
    primary key (day, seq)
) partition by range (day);
create index outbox_position_seq on crmsync.outbox (position, seq);

-- How far the relay is: every row up to (position, seq) was acknowledged by Kafka.
-- A copy of the database that was restored elsewhere has another system identifier, or after a recovery another
-- timeline, and its transaction ids start low: the relay refuses it until an operator says what it is.
create table crmsync.relay_cursor (
    only_row          boolean     primary key default true check (only_row),
    position          bigint      not null default 0,
    seq               bigint      not null default 0,
    generation        integer     not null default 0 check (generation between 0 and 32767), -- high bits of kotinos_version
    system_identifier bigint,
    timeline          integer,
    leader            text,                 -- who sends; null after it signed off
    refusal           text,                 -- why the last leader sends nothing until an operator says more
    saved_at          timestamptz not null default now()
);
insert into crmsync.relay_cursor default values;

-- What a relay that lost its leadership may still have had in flight. Its successor sends these keys' rows again.
create table crmsync.relay_fence (
    relay_fence_id bigint      generated always as identity primary key,
    from_position  bigint      not null,
    from_seq       bigint      not null,
    to_position    bigint      not null,
    to_seq         bigint      not null,
    leader         text        not null,
    written_at     timestamptz not null default now(),
    closed_at      timestamptz
);

-- Behind the last record of the relay in each partition, up to a second ago. Only the relay writes to these topics, so a
-- partition that ends before it has lost records: the topic was made anew, or the broker lost its disk.
create table crmsync.relay_end (
    topic      text    not null,
    partition  integer not null,
    end_offset bigint  not null,
    primary key (topic, partition)
);

-- Topics whose rows an operator has sent again, from a day on. The relay does it and takes the row away.
create table crmsync.relay_resend (
    topic    text        primary key,
    from_day date        not null,
    asked_at timestamptz not null default now()
);

-- Which facts a consumer has taken in. The day is the one inside the fact's UUIDv7, so that a repeat meets its key.
-- Ids of other days than the present ones (a consumer that starts at the beginning of a state topic) go to inbox_old.
create table crmsync.inbox (
    day        date        not null,
    consumer   text        not null,
    event_id   uuid        not null,
    claimed_at timestamptz not null default now(),
    primary key (day, consumer, event_id)
) partition by range (day);
create table crmsync.inbox_old partition of crmsync.inbox for values from (minvalue) to ('2000-01-01');
create index inbox_old_claimed_at on crmsync.inbox_old (claimed_at);

-- Records that failed three times, and the later ones of their keys, which wait behind them. Other keys go on.
create table crmsync.parked_record (
    consumer      text        not null,
    topic         text        not null,
    partition     integer     not null,
    record_key    text        not null,
    record_offset bigint      not null,
    event_id      uuid        not null,
    fact_type     text        not null,
    version       bigint      not null,
    occurred_at   timestamptz not null,
    payload       bytea,
    traceparent   text,
    tracestate    text,
    attempts      integer     not null default 0,
    class         text        not null check (class in ('failed', 'behind')), -- behind: not tried, its key is parked
    error         text,
    next_at       timestamptz,          -- null: after the last tier it waits for an operator; behind its key, for its turn
    parked_at     timestamptz not null default now(),
    primary key (consumer, topic, partition, record_offset)
);
create index parked_record_key on crmsync.parked_record (consumer, topic, record_key, record_offset);
create index parked_record_next_at on crmsync.parked_record (consumer, topic, partition, next_at);

-- Consumers that are stopped: they leave their group and take nothing in until an operator lets them go on.
create table crmsync.paused_consumer (
    consumer  text        primary key,
    refusal   text,                 -- why it stopped itself, since records are gone; null: an operator stopped it
    anew      text,                 -- the topic that was made anew, where that is why
    paused_at timestamptz not null default now()
);

-- How far a consumer is in each partition, at most a minute old while it works: everything that was there at read_at was
-- taken in. Kafka forgets a group's offsets with the topic or with time; these say whether records are gone in between.
create table crmsync.consumer_place (
    consumer    text        not null,
    topic       text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    read_at     timestamptz not null,
    primary key (consumer, topic, partition)
);

-- Makes the daily partitions of outbox and inbox from p_from to p_to. There is no default partition: attaching beside one
-- scans it under a lock. Created plain and attached, since `create table ... partition of` locks the parent exclusively.
create function crmsync.make_days(p_from date, p_to date) returns integer language plpgsql as $$
declare
    parent text;
    child  text;
    on_day date;
    made   integer := 0;
begin
    -- One at a time: two processes that start together would both create the same day.
    perform pg_advisory_xact_lock(hashtext('crmsync.make_days'));
    foreach parent in array array['outbox', 'inbox'] loop
        for on_day in select generate_series(p_from, p_to, interval '1 day')::date loop
            child := parent || '_' || to_char(on_day, 'YYYYMMDD');
            continue when to_regclass('crmsync.' || child) is not null;
            execute format('create table crmsync.%I (like crmsync.%I including all)', child, parent);
            execute format(
                'alter table crmsync.%I attach partition crmsync.%I for values from (%L) to (%L)',
                parent, child, on_day, on_day + 1);
            made := made + 1;
        end loop;
    end loop;
    return made;
end $$;
-- Three days back for facts that wait in Kafka, seven ahead so that a week without the relay's maintenance stops nothing.
select crmsync.make_days((clock_timestamp() at time zone 'utc')::date - 3, (clock_timestamp() at time zone 'utc')::date + 7);
