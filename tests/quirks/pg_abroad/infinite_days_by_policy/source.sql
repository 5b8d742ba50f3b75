CREATE TABLE t (id int PRIMARY KEY, d date, m timestamp);
INSERT INTO t VALUES (1, 'infinity', '-infinity'), (2, '0044-03-15 BC', '2020-02-29 12:00');
CREATE TABLE beside (id int PRIMARY KEY); INSERT INTO beside VALUES (1)
