create schema if not exists segmentation;

create table segmentation.segment (
    segment_id  uuid primary key,
    key         text not null,
    name        text not null,
    state       text not null check (state in ('active', 'archived')),
    version     integer not null,
    purpose     text,                                 -- null: analysts may count, nobody may freeze or list
    recipient   text not null default '',
    created_at  timestamptz not null,
    constraint segment_key_taken unique (key)
);

-- A rule never changes: an edit makes the next version.
create table segmentation.segment_version (
    segment_id  uuid not null references segmentation.segment,
    version     integer not null,
    rule        text not null,                        -- canonical JSON; its hash is over these very bytes
    rule_hash   bytea not null,
    author      text not null,
    at          timestamptz not null,
    primary key (segment_id, version)
);

-- Who is in a live segment, as it was last told to others.
create table segmentation.membership (
    segment_id  uuid not null references segmentation.segment,
    profile_id  uuid not null,
    version     integer not null,
    entered_at  timestamptz not null,
    primary key (segment_id, profile_id)
);
create index membership_profile on segmentation.membership (profile_id);

-- The immutable set that a campaign is sent to.
create table segmentation.freeze (
    freeze_id    uuid primary key,
    request_id   uuid not null,
    segment_id   uuid not null references segmentation.segment,
    version      integer not null,
    purpose      text not null,
    recipient    text not null default '',
    members      bytea not null,                      -- ids of 16 bytes, ascending: block numbers never shift
    content_hash bytea not null,
    proof_hash   bytea not null,
    watermark    jsonb not null,
    created_at   timestamptz not null,
    constraint freeze_request unique (request_id)
);

-- What crate outbox needs in a service's schema. A service copies this text into its first migration with segmentation
-- replaced by its short name; the crate's tests run the same text. One role owns the schema and runs the service,
-- since the relay makes and drops the daily partitions.

-- cache 1 (the default, spelled out): a session that drew a range of numbers ahead would use an old one later, and
-- two facts of one aggregate would be sent in the wrong order.
create sequence segmentation.outbox_seq cache 1;

-- Where a row stands among the windows that the relay reads: the greater of its transaction's id and the highest
-- transaction id that was over when the row was appended.
-- The raw transaction id would be a wrong key: a transaction that got its id early (an inbox claim does that) may wait
-- for the aggregate and commit second with the smaller id. The first one gives the aggregate up before the second
-- takes it, so the second one's append sees the first as over, and its position is not smaller. Rows of one position
-- are ordered by seq, which is drawn under the aggregate's lock.
-- Volatile and a function on purpose: it takes its own snapshot. An inline expression would read the statement's
-- snapshot, taken before the wait for the lock, when lock and append are one statement, and would invert the order.
create function segmentation.outbox_position() returns bigint language plpgsql volatile as $$ begin
    return greatest((pg_current_xact_id()::text)::bigint, (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint - 1);
end $$;

-- Facts on their way to Kafka. id, aggregatetype (the topic), aggregateid (the key), type and payload are the names of
-- Debezium's outbox router, so that a site may put it in the place of our relay. A payload of null is a tombstone.
create table segmentation.outbox (
    day           date        not null default (clock_timestamp() at time zone 'utc')::date, -- not now(): that is the transaction's start
    seq           bigint      not null default nextval('segmentation.outbox_seq'),
    position      bigint      not null default segmentation.outbox_position(),
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
create index outbox_position_seq on segmentation.outbox (position, seq);

-- How far the relay is: every row up to (position, seq) was acknowledged by Kafka.
-- A copy of the database that was restored elsewhere has another system identifier, or after a recovery another
-- timeline, and its transaction ids start low: the relay refuses it until an operator says what it is.
create table segmentation.relay_cursor (
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
insert into segmentation.relay_cursor default values;

-- What a relay that lost its leadership may still have had in flight. Its successor sends these keys' rows again.
create table segmentation.relay_fence (
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
create table segmentation.relay_end (
    topic      text    not null,
    partition  integer not null,
    end_offset bigint  not null,
    primary key (topic, partition)
);

-- Topics whose rows an operator has sent again, from a day on. The relay does it and takes the row away.
create table segmentation.relay_resend (
    topic    text        primary key,
    from_day date        not null,
    asked_at timestamptz not null default now()
);

-- Which facts a consumer has taken in. The day is the one inside the fact's UUIDv7, so that a repeat meets its key.
-- Ids of other days than the present ones (a consumer that starts at the beginning of a state topic) go to inbox_old.
create table segmentation.inbox (
    day        date        not null,
    consumer   text        not null,
    event_id   uuid        not null,
    claimed_at timestamptz not null default now(),
    primary key (day, consumer, event_id)
) partition by range (day);
create table segmentation.inbox_old partition of segmentation.inbox for values from (minvalue) to ('2000-01-01');
create index inbox_old_claimed_at on segmentation.inbox_old (claimed_at);

-- Records that failed three times, and the later ones of their keys, which wait behind them. Other keys go on.
create table segmentation.parked_record (
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
create index parked_record_key on segmentation.parked_record (consumer, topic, record_key, record_offset);
create index parked_record_next_at on segmentation.parked_record (consumer, topic, partition, next_at);

-- Consumers that are stopped: they leave their group and take nothing in until an operator lets them go on.
create table segmentation.paused_consumer (
    consumer  text        primary key,
    refusal   text,                 -- why it stopped itself, since records are gone; null: an operator stopped it
    anew      text,                 -- the topic that was made anew, where that is why
    paused_at timestamptz not null default now()
);

-- How far a consumer is in each partition, at most a minute old while it works: everything that was there at read_at was
-- taken in. Kafka forgets a group's offsets with the topic or with time; these say whether records are gone in between.
create table segmentation.consumer_place (
    consumer    text        not null,
    topic       text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    read_at     timestamptz not null,
    primary key (consumer, topic, partition)
);

-- Makes the daily partitions of outbox and inbox from p_from to p_to. There is no default partition: attaching beside one
-- scans it under a lock. Created plain and attached, since `create table ... partition of` locks the parent exclusively.
create function segmentation.make_days(p_from date, p_to date) returns integer language plpgsql as $$
declare
    parent text;
    child  text;
    on_day date;
    made   integer := 0;
begin
    -- One at a time: two processes that start together would both create the same day.
    perform pg_advisory_xact_lock(hashtext('segmentation.make_days'));
    foreach parent in array array['outbox', 'inbox'] loop
        for on_day in select generate_series(p_from, p_to, interval '1 day')::date loop
            child := parent || '_' || to_char(on_day, 'YYYYMMDD');
            continue when to_regclass('segmentation.' || child) is not null;
            execute format('create table segmentation.%I (like segmentation.%I including all)', child, parent);
            execute format(
                'alter table segmentation.%I attach partition segmentation.%I for values from (%L) to (%L)',
                parent, child, on_day, on_day + 1);
            made := made + 1;
        end loop;
    end loop;
    return made;
end $$;
-- Three days back for facts that wait in Kafka, seven ahead so that a week without the relay's maintenance stops nothing.
select segmentation.make_days((clock_timestamp() at time zone 'utc')::date - 3, (clock_timestamp() at time zone 'utc')::date + 7);
