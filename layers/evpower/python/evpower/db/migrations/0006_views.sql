-- Views for the app's database reads and for people. All are security_invoker: the reader's own policies apply.
-- The offline threshold of the views is the setting `evpower.offline_after_s` of the database, 600 s when unset.

CREATE FUNCTION evpower_offline_after() RETURNS interval LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT make_interval(secs => coalesce(nullif(current_setting('evpower.offline_after_s', true), '')::numeric, 600)::double precision)
$$;

CREATE VIEW station_availability WITH (security_invoker = true) AS
SELECT s.id AS station_id,
       s.serial_number,
       s.location_id,
       s.status AS admin_status,
       coalesce(s.last_heartbeat_at > now() - public.evpower_offline_after(), false) AS is_online,
       CASE
           WHEN s.status <> 'active' THEN 'maintenance'
           WHEN NOT coalesce(s.last_heartbeat_at > now() - public.evpower_offline_after(), false) THEN 'offline'
           WHEN s.registration_status <> 'accepted' OR s.ocpp_status IN ('Unavailable', 'Faulted') THEN 'offline'
           WHEN c.available > 0 THEN 'available'
           WHEN c.occupied > 0 THEN 'occupied'
           ELSE 'offline'
       END AS status,
       coalesce(c.total, 0) AS connectors_total,
       coalesce(c.available, 0) AS connectors_available,
       coalesce(c.occupied, 0) AS connectors_occupied,
       coalesce(c.faulted, 0) AS connectors_faulted
  FROM stations s
  LEFT JOIN (
        SELECT station_id,
               count(*) AS total,
               count(*) FILTER (WHERE status = 'available') AS available,
               count(*) FILTER (WHERE status = 'occupied') AS occupied,
               count(*) FILTER (WHERE status IN ('faulted', 'unavailable')) AS faulted
          FROM connectors GROUP BY station_id) c ON c.station_id = s.id
 WHERE s.status <> 'inactive';

-- The app's rule (mobile-api.md §0.2): no active station maintenance; none reachable offline; no free connector
-- occupied; some stations down partial; else available.
CREATE VIEW location_status_view WITH (security_invoker = true) AS
SELECT l.id AS location_id,
       l.name,
       CASE
           WHEN count(*) FILTER (WHERE a.admin_status = 'active') = 0 THEN 'maintenance'
           WHEN count(*) FILTER (WHERE a.status IN ('available', 'occupied')) = 0 THEN 'offline'
           WHEN coalesce(sum(a.connectors_available) FILTER (WHERE a.status = 'available'), 0) = 0 THEN 'occupied'
           WHEN count(*) FILTER (WHERE a.status IN ('offline', 'maintenance')) > 0 THEN 'partial'
           ELSE 'available'
       END AS status,
       count(a.station_id) AS stations_total,
       count(*) FILTER (WHERE a.status = 'available') AS stations_available,
       count(*) FILTER (WHERE a.status = 'occupied') AS stations_occupied,
       count(*) FILTER (WHERE a.status = 'offline') AS stations_offline,
       count(*) FILTER (WHERE a.status = 'maintenance') AS stations_maintenance
  FROM locations l
  LEFT JOIN station_availability a ON a.location_id = l.id
 WHERE l.status = 'active'
 GROUP BY l.id, l.name;

CREATE VIEW ocpp_station_status WITH (security_invoker = true) AS
SELECT id AS station_id,
       last_heartbeat_at AS last_heartbeat,
       coalesce(last_heartbeat_at > now() - public.evpower_offline_after(), false) AS is_online
  FROM stations;
