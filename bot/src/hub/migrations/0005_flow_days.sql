-- The sums of `flows` by day (UTC), which whoever needs them all reads instead of every hour. A
-- trigger adds what changes in the same transaction, whichever release of the collector writes.

CREATE TABLE flow_days (
    run_id integer NOT NULL,
    day date NOT NULL,
    coin text COLLATE "C" NOT NULL,
    amount numeric NOT NULL,
    fees numeric NOT NULL,
    fills bigint NOT NULL,
    PRIMARY KEY (run_id, day, coin)
);

CREATE FUNCTION add_flow_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        UPDATE flow_days d
        SET amount = d.amount - gone.amount, fees = d.fees - gone.fees, fills = d.fills - gone.fills
        FROM (SELECT run_id, (hour AT TIME ZONE 'UTC')::date AS day, coin, sum(amount) AS amount,
                     sum(fees) AS fees, sum(fills)::bigint AS fills
              FROM old_rows GROUP BY 1, 2, 3) AS gone
        WHERE (d.run_id, d.day, d.coin) = (gone.run_id, gone.day, gone.coin);
    END IF;
    INSERT INTO flow_days AS d
    SELECT run_id, (hour AT TIME ZONE 'UTC')::date, coin, sum(amount), sum(fees), sum(fills)::bigint
    FROM new_rows GROUP BY 1, 2, 3
    ON CONFLICT (run_id, day, coin) DO UPDATE SET
        amount = d.amount + excluded.amount,
        fees = d.fees + excluded.fees,
        fills = d.fills + excluded.fills;
    RETURN NULL;
END
$$;
CREATE TRIGGER flows_added AFTER INSERT ON flows
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION add_flow_days();
CREATE TRIGGER flows_changed AFTER UPDATE ON flows
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION add_flow_days();

INSERT INTO flow_days
SELECT run_id, (hour AT TIME ZONE 'UTC')::date, coin, sum(amount), sum(fees), sum(fills)::bigint
FROM flows GROUP BY 1, 2, 3;
