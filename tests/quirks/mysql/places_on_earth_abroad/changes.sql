UPDATE t SET g = ST_GeomFromText('POINT(1 2)', 3857), p = ST_GeomFromText('POINT(11 21)', 4326) WHERE id = 1
