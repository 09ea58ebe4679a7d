-- What a client's pages look like.

alter table identity.client add column theme jsonb;   -- accent, accent_dark, logo; null: the suite's own look
