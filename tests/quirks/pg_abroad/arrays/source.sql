CREATE TABLE t (id int PRIMARY KEY, n int[], x text[]);
INSERT INTO t VALUES (1, '{1,NULL,3}', '{"a b",NULL,"NULL","q\"\\"}'), (2, '{{1,2},{3,4}}', '{}');
CREATE TABLE beside (id int PRIMARY KEY); INSERT INTO beside VALUES (1)
