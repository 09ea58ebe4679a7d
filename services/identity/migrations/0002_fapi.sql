-- Pushed authorization requests (RFC 9126), keys of DPoP proofs (RFC 9449), the FAPI 2.0 Security Profile.

alter table identity.client
    add column profile            text    not null default 'oauth' check (profile in ('oauth', 'fapi2')),
    add column par_required       boolean not null default false,
    add column dpop_required      boolean not null default false,
    add column token_url_audience boolean not null default false; -- assertions may name the token endpoint as `aud`

-- What a client pushed; its request_uri is a MAC over the id.
create table identity.pushed_request (
    request_id uuid primary key,
    client_id  text not null,
    params     jsonb not null,                      -- names and values, without what proved the client
    expires_at timestamptz not null,
    used_at    timestamptz                          -- set with the code, so that a page may be loaded again until then
) partition by range (request_id);
create table identity.pushed_request_default partition of identity.pushed_request default;

-- Thumbprint (RFC 7638) of the key to which a code, or a public client's refresh tokens, are bound.
alter table identity.authorization_code add column jkt text;
alter table identity.token_family add column jkt text;
