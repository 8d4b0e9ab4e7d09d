-- What happened beside trading, and which release each bot runs.

CREATE TABLE incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bot_id integer NOT NULL REFERENCES bots,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('kill_switch', 'pause', 'acknowledgement')),
    symbol text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    ended timestamptz,
    code text NOT NULL,
    text text NOT NULL,
    UNIQUE (bot_id, kind, symbol, at, code, text)
);
CREATE INDEX incidents_at ON incidents (at DESC, id DESC);

CREATE TABLE releases (
    bot_id integer NOT NULL REFERENCES bots,
    version text NOT NULL,
    seen timestamptz NOT NULL,            -- when it was first heard with it
    PRIMARY KEY (bot_id, seen)
);
