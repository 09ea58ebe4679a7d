create schema if not exists mailer;

-- In whose name mail goes out.
create table mailer.sender (
    sender_key   text primary key,
    controller   text not null,
    from_name    text not null,
    from_address bytea not null,                      -- exact bytes, as every address here
    purpose      text not null,
    recipient    text not null default '',
    footer       jsonb not null,                      -- text by language
    created_at   timestamptz not null
);

create table mailer.template (
    template_id  uuid primary key,
    template_key text not null constraint template_key_taken unique,
    name         text not null,
    created_at   timestamptz not null
);

-- Immutable. It is compiled from its source when it is needed, and tried when it is saved.
create table mailer.template_version (
    template_id  uuid not null references mailer.template,
    version      integer not null check (version > 0),
    source       jsonb not null,
    sha256       bytea not null,
    saved_at     timestamptz not null,
    published_at timestamptz,
    primary key (template_id, version)
);

create table mailer.campaign (
    campaign_id      uuid primary key,
    number           integer generated always as identity unique,  -- what links carry: 4 bytes, not 16
    request_id       uuid not null constraint campaign_request unique,
    body_sha256      bytea not null,
    version          bigint not null,
    name             text not null,
    sender_key       text not null references mailer.sender,
    segment_id       uuid not null,
    template_id      uuid not null,
    template_version integer not null,
    class            text not null check (class in ('sales', 'news', 'results', 'safety', 'service')),
    delivery         text not null check (delivery in ('at_least_once', 'at_most_once')),
    state            text not null check (state in
        ('draft', 'scheduled', 'held', 'freezing', 'sending', 'paused', 'finished', 'cancelled')),
    send_at          timestamptz,
    deadline         timestamptz,
    freeze_id        uuid,
    freeze_hash      text not null default '',
    frozen           bigint not null default 0,
    frozen_at        timestamptz,
    watermark        jsonb not null default '[]',      -- [topic, partition, next offset] that the freeze had read
    next_block       integer not null default 0,      -- fan-out goes on here after a crash
    cancel_reason    text not null default '',
    message_key      bytea not null,                  -- of Message-IDs: stays when token keys rotate
    created_at       timestamptz not null,
    foreign key (template_id, template_version) references mailer.template_version
);
create index campaign_waiting on mailer.campaign (state, send_at) where state in ('scheduled', 'freezing', 'sending');

-- People of a freeze, in blocks; leased to one process at a time. Its ids without their ledger rows are what is left.
create table mailer.chunk (
    campaign_id  uuid not null references mailer.campaign,
    block        integer not null,
    profile_ids  uuid[] not null,
    done_at      timestamptz,
    owner        uuid,
    epoch        bigint not null default 0,           -- counts leases: an old owner's writes are told by it
    leased_until timestamptz,
    not_before   timestamptz,
    primary key (campaign_id, block)
);
create index chunk_open on mailer.chunk (campaign_id, block) where done_at is null;

-- The ledger. The key is what makes "once" true: a campaign and a person have one row, whoever writes it.
create table mailer.message (
    campaign_id       uuid not null references mailer.campaign,
    profile_id        uuid not null,
    state             text not null check (state in
        ('handing', 'accepted', 'deferred', 'bounced', 'skipped', 'expired', 'failed', 'unknown')),
    reason            text not null default '',
    message_id        text not null default '',
    relay_code        integer,
    relay_reply       text not null default '',       -- may repeat the address: never leaves this database
    language          text not null default '',
    tracked           boolean not null default false,
    consent_record_id uuid,
    attempts          integer not null default 0,     -- answers of relays
    at                timestamptz not null,
    primary key (campaign_id, profile_id)
) with (fillfactor = 90);
create index message_profile on mailer.message (profile_id, at desc);

-- Deferred mails, apart from the ledger: an index on a changing column would end its cheap updates.
create table mailer.retry (
    campaign_id  uuid not null,
    profile_id   uuid not null,
    next_at      timestamptz not null,
    leased_until timestamptz,
    primary key (campaign_id, profile_id),
    foreign key (campaign_id, profile_id) references mailer.message
);
create index retry_next_at on mailer.retry (next_at);

-- Mail that a person's own act asks for. Its address and secrets are sealed, and wiped when it has an outcome.
create table mailer.transactional (
    transactional_id uuid primary key,
    request_id       uuid not null unique,
    key_id           text not null,                   -- of the key behind body_mac
    body_mac         bytea not null,                  -- keyed: a bare hash of six digits could be tried out
    template         text not null,
    sealed           bytea,
    state            text not null check (state in ('queued', 'accepted', 'bounced', 'failed', 'expired')),
    reason           text not null default '',
    message_id       text not null,
    relay_code       integer,
    attempts         integer not null default 0,
    deadline         timestamptz not null,
    next_at          timestamptz not null,
    leased_until     timestamptz,
    created_at       timestamptz not null,
    finished_at      timestamptz,
    check ((state = 'queued') = (sealed is not null))
);
create index transactional_queued on mailer.transactional (next_at) where state = 'queued';

-- A person as the facts of profile tell: only what mails may use. Each half keeps the version that it is from.
create table mailer.recipient (
    profile_id      uuid primary key,
    profile_version bigint not null default 0,        -- 0: no profile has arrived yet
    consent_version bigint not null default 0,
    state           text not null default '',
    restricted      boolean not null default false,
    email           bytea,
    email_class     text,
    locale          text not null default '',
    fields          jsonb not null default '{}',
    heads           jsonb not null default '[]',
    user_id         uuid
) with (fillfactor = 80);

-- How far this service has read the facts of people: a freeze that has read further waits.
create table mailer.consumed (
    topic       text not null,
    partition   integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

create table mailer.suppression (
    suppression_id uuid primary key,
    version        bigint not null,
    profile_id     uuid not null,
    address_hash   bytea,
    scope          text not null check (scope in ('all', 'sender')),
    sender_key     text,
    purpose        text,
    recipient      text,
    reason         text not null check (reason in
        ('unsubscribed', 'hard_bounce', 'complaint', 'manual', 'repeated_soft')),
    campaign_id    uuid,
    at             timestamptz not null,
    ended_at       timestamptz,
    withdrawn_at   timestamptz,                       -- when profile recorded the withdrawal
    withdraw_next  timestamptz,                       -- when it is tried (again); null when there is nothing to record
    check ((scope = 'sender') = (sender_key is not null and purpose is not null and recipient is not null))
);
-- A link that is used twice makes one suppression.
create unique index suppression_standing on mailer.suppression (profile_id, scope, coalesce(sender_key, ''), reason)
    where ended_at is null;
create index suppression_withdraw on mailer.suppression (withdraw_next) where withdraw_next is not null;

create table mailer.engagement (
    engagement_id bigint generated always as identity primary key,
    campaign_id   uuid not null,
    profile_id    uuid not null,
    kind          text not null check (kind in ('open', 'click')),
    link          integer,
    class         text not null check (class in ('human', 'machine')),
    at            timestamptz not null
);
create index engagement_message on mailer.engagement (campaign_id, profile_id, at);

-- Keys that belong to these rows and to no process: of address hashes, which leave on Kafka.
create table mailer.secret (
    name  text primary key,
    value bytea not null
);
insert into mailer.secret (name, value)
values ('address_hash', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'utf8')));

-- What crate outbox needs in a service's schema. A service copies this text into its first migration with mailer
-- replaced by its short name; the crate's tests run the same text. One role owns the schema and runs the service,
-- since the relay makes and drops the daily partitions.

-- cache 1 (the default, spelled out): a session that drew a range of numbers ahead would use an old one later, and
-- two facts of one aggregate would be sent in the wrong order.
create sequence mailer.outbox_seq cache 1;

-- Where a row stands among the windows that the relay reads: the greater of its transaction's id and the highest
-- transaction id that was over when the row was appended.
-- The raw transaction id would be a wrong key: a transaction that got its id early (an inbox claim does that) may wait
-- for the aggregate and commit second with the smaller id. The first one gives the aggregate up before the second
-- takes it, so the second one's append sees the first as over, and its position is not smaller. Rows of one position
-- are ordered by seq, which is drawn under the aggregate's lock.
-- Volatile and a function on purpose: it takes its own snapshot. An inline expression would read the statement's
-- snapshot, taken before the wait for the lock, when lock and append are one statement, and would invert the order.
create function mailer.outbox_position() returns bigint language plpgsql volatile as $$ begin
    return greatest((pg_current_xact_id()::text)::bigint, (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint - 1);
end $$;

-- Facts on their way to Kafka. id, aggregatetype (the topic), aggregateid (the key), type and payload are the names of
-- Debezium's outbox router, so that a site may put it in the place of our relay. A payload of null is a tombstone.
create table mailer.outbox (
    day           date        not null default (clock_timestamp() at time zone 'utc')::date, -- not now(): that is the transaction's start
    seq           bigint      not null default nextval('mailer.outbox_seq'),
    position      bigint      not null default mailer.outbox_position(),
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
create index outbox_position_seq on mailer.outbox (position, seq);

-- How far the relay is: every row up to (position, seq) was acknowledged by Kafka.
-- A copy of the database that was restored elsewhere has another system identifier, or after a recovery another
-- timeline, and its transaction ids start low: the relay refuses it until an operator says what it is.
create table mailer.relay_cursor (
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
insert into mailer.relay_cursor default values;

-- What a relay that lost its leadership may still have had in flight. Its successor sends these keys' rows again.
create table mailer.relay_fence (
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
create table mailer.relay_end (
    topic      text    not null,
    partition  integer not null,
    end_offset bigint  not null,
    primary key (topic, partition)
);

-- Topics whose rows an operator has sent again, from a day on. The relay does it and takes the row away.
create table mailer.relay_resend (
    topic    text        primary key,
    from_day date        not null,
    asked_at timestamptz not null default now()
);

-- Which facts a consumer has taken in. The day is the one inside the fact's UUIDv7, so that a repeat meets its key.
-- Ids of other days than the present ones (a consumer that starts at the beginning of a state topic) go to inbox_old.
create table mailer.inbox (
    day        date        not null,
    consumer   text        not null,
    event_id   uuid        not null,
    claimed_at timestamptz not null default now(),
    primary key (day, consumer, event_id)
) partition by range (day);
create table mailer.inbox_old partition of mailer.inbox for values from (minvalue) to ('2000-01-01');
create index inbox_old_claimed_at on mailer.inbox_old (claimed_at);

-- Records that failed three times, and the later ones of their keys, which wait behind them. Other keys go on.
create table mailer.parked_record (
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
create index parked_record_key on mailer.parked_record (consumer, topic, record_key, record_offset);
create index parked_record_next_at on mailer.parked_record (consumer, topic, partition, next_at);

-- Consumers that are stopped: they leave their group and take nothing in until an operator lets them go on.
create table mailer.paused_consumer (
    consumer  text        primary key,
    refusal   text,                 -- why it stopped itself, since records are gone; null: an operator stopped it
    anew      text,                 -- the topic that was made anew, where that is why
    paused_at timestamptz not null default now()
);

-- How far a consumer is in each partition, at most a minute old while it works: everything that was there at read_at was
-- taken in. Kafka forgets a group's offsets with the topic or with time; these say whether records are gone in between.
create table mailer.consumer_place (
    consumer    text        not null,
    topic       text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    read_at     timestamptz not null,
    primary key (consumer, topic, partition)
);

-- Makes the daily partitions of outbox and inbox from p_from to p_to. There is no default partition: attaching beside one
-- scans it under a lock. Created plain and attached, since `create table ... partition of` locks the parent exclusively.
create function mailer.make_days(p_from date, p_to date) returns integer language plpgsql as $$
declare
    parent text;
    child  text;
    on_day date;
    made   integer := 0;
begin
    -- One at a time: two processes that start together would both create the same day.
    perform pg_advisory_xact_lock(hashtext('mailer.make_days'));
    foreach parent in array array['outbox', 'inbox'] loop
        for on_day in select generate_series(p_from, p_to, interval '1 day')::date loop
            child := parent || '_' || to_char(on_day, 'YYYYMMDD');
            continue when to_regclass('mailer.' || child) is not null;
            execute format('create table mailer.%I (like mailer.%I including all)', child, parent);
            execute format(
                'alter table mailer.%I attach partition mailer.%I for values from (%L) to (%L)',
                parent, child, on_day, on_day + 1);
            made := made + 1;
        end loop;
    end loop;
    return made;
end $$;
-- Three days back for facts that wait in Kafka, seven ahead so that a week without the relay's maintenance stops nothing.
select mailer.make_days((clock_timestamp() at time zone 'utc')::date - 3, (clock_timestamp() at time zone 'utc')::date + 7);
