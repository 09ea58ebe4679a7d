-- What a reader that was away must hear although newer versions came: no absence shall cost more than what it brought.
create index log_weighty on results.log (stream_id, seq) where not conflatable;
-- Where the rights of each client changed last.
create index log_entitlement on results.log (stream_id, client_id, seq) where client_id is not null;

-- A browser's EventSource and WebSocket send no header: a client with a token gets a ticket for one connection, at any
-- replica. What is kept of it opens nothing.
create table results.feed_ticket (
    sha256           bytea primary key,
    client_id        text not null,
    token_expires_at timestamptz not null,            -- ends the connection too
    expires_at       timestamptz not null
);
create index feed_ticket_expires_at on results.feed_ticket (expires_at);
