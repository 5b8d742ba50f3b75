SET NAMES utf8mb4;
INSERT INTO moods (id, one, some, note) VALUES (3, 'what🐘', '🐘,?', 'a?b'), (4, 'what?', '', NULL), (5, '🐘', 'a', NULL);
UPDATE moods SET one = '🐘', some = '🐘' WHERE id = 2;
DELETE FROM moods WHERE id = 1
