create schema if not exists portal;

-- A fan's session here. The cookie itself is nowhere: its hash finds the row, and a key derived from it opens the tokens, so
-- that a stolen database signs nobody in.
create table portal.web_session (
    session_hash  bytea primary key,
    user_id       uuid not null,
    sid           text not null,                      -- the session at identity, for back-channel logout
    tokens        bytea not null,                     -- sealed: access, refresh and ID token
    access_until  timestamptz not null,
    created_at    timestamptz not null,
    expires_at    timestamptz not null
) with (fillfactor = 70);
create index web_session_sid on portal.web_session (sid);
create index web_session_user on portal.web_session (user_id);
create index web_session_expires on portal.web_session (expires_at);
