UPDATE a JOIN b USING (id) SET a.v = b.v, b.v = a.v + 1 WHERE id < 3; DELETE a, b FROM a JOIN b USING (id) WHERE id = 3
