SET time_zone = '+09:00';
UPDATE `it's "t\` SET t = '\\', first_m = '2024-07-01 00:00:00', d = '1999-12-31 23:59:59', e = '"' WHERE id = 1;
INSERT INTO `it's "t\` (id, a, t, b, m) VALUES (3, 'é😀\\', '\0\t\Z\r\n', '\\N', '1999-01-01 00:00:00'), (4, '\\.', '\\N', NULL, NULL); DELETE FROM `it's "t\` WHERE id = 2
