-- Partners to whom documents are POSTed (ODF Foundation Principles 8.2).
create table results.delivery_target (
    target_id  uuid primary key,
    client_id  text not null,                         -- whose rights apply
    name       text not null,
    url        text not null,
    sealed_key bytea not null,                        -- their API key, readable with the service's secret alone
    feed_flag  text not null check (feed_flag in ('P', 'T')),
    prefixes   text[] not null,                       -- empty: all; so with types and statuses
    types      text[] not null,
    statuses   text[] not null,
    mode       text not null check (mode in ('state', 'every')),
    paused_at  timestamptz,
    parked_at  timestamptz,                           -- a document was refused for a day
    version    bigint not null,
    created_at timestamptz not null
);
create index delivery_target_client on results.delivery_target (client_id, created_at, target_id);

-- How far each lane of a target is. One replica at a time drives a target; its number fences off the one before.
create table results.delivery_progress (
    target_id     uuid not null references results.delivery_target on delete cascade,
    lane          text not null check (lane in ('results', 'bulk', 'resend')),
    acknowledged  bigint not null,                    -- everything up to here was taken, or is not for the target
    ahead         bigint[] not null default '{}',     -- taken behind that, while an earlier one was refused
    failing_since timestamptz,                        -- of the document that is refused the longest
    term          bigint not null default 0,          -- raised by whoever takes over
    primary key (target_id, lane)
) with (fillfactor = 50);

-- Versions that a partner asked for once more, and those that it refused for so long that its lane went on without them;
-- gone when they were taken.
create table results.delivery_resend (
    target_id     uuid not null references results.delivery_target on delete cascade,
    seq           bigint not null,
    refused_since timestamptz,                        -- null: asked for
    primary key (target_id, seq)
);

-- Search goes by day and by time; by code and type it goes through the documents.
create index log_logical_date on results.log (stream_id, logical_date, seq) where kind <> 'late';
create index log_received_at on results.log (stream_id, received_at, seq) where kind <> 'late';
