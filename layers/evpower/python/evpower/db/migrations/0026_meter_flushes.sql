-- The newest group commit of readings of each process of the socket tier. A process numbers its commits; one that was
-- sent twice, or that arrives long after its connection was given up, is recognised by its number and does nothing.

CREATE TABLE meter_flushes (
    writer text PRIMARY KEY, -- one run of one process
    flush bigint NOT NULL,   -- the number of its newest commit
    set_aside text[],        -- sessions whose readings that commit left out, because somebody had locked the session
    flushed_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50); -- rows change several times a second: there must be room for the next version beside them

SELECT evpower_protect_table('meter_flushes');
