-- Claims that a client asks for by name, and clients that register themselves.

-- Null when none is asked for by name, so that most rows stay narrow (OIDC Core 5.5).
alter table identity.authorization_code add column claims jsonb;
alter table identity.token_family add column claims jsonb;
alter table identity.consent add column claims text[] not null default '{}';

alter table identity.client add column sector text;               -- null: the host of the first redirect URI
alter table identity.client add column jwks_uri text;
alter table identity.client add column default_max_age integer;   -- seconds

-- What an initial access token allows (RFC 7591 3). The token is a MAC over this row and its generation.
create table identity.registration_policy (
    policy_id     uuid primary key,
    name          text not null,
    generation    integer not null,                 -- raised to revoke the tokens given out so far
    scopes        text[] not null,
    grant_types   text[] not null,
    auth_methods  text[] not null,
    pkce_required boolean not null,
    most_clients  integer not null,
    expires_at    timestamptz,
    updated_at    timestamptz not null,
    constraint registration_policy_name unique (name)
);

-- What a client said of itself beyond the columns of its row. Its registration access token is a MAC over this row.
create table identity.client_registration (
    registration_id uuid primary key,               -- its client id is made of it
    client_id       text not null unique references identity.client on delete cascade,
    policy_id       uuid not null references identity.registration_policy,
    metadata        jsonb not null,
    created_at      timestamptz not null
);
create index client_registration_policy on identity.client_registration (policy_id);
