CREATE TABLE a_table_with_a_long_name_that_is_told_apart_at_its_end_only_a (id int PRIMARY KEY, v int CONSTRAINT a_check_by_the_same_name_in_both_of_the_tables CHECK (v > 0));
CREATE TABLE a_table_with_a_long_name_that_is_told_apart_at_its_end_only_b (id int PRIMARY KEY, v int CONSTRAINT a_check_by_the_same_name_in_both_of_the_tables CHECK (v > 1));
INSERT INTO a_table_with_a_long_name_that_is_told_apart_at_its_end_only_a VALUES (1, 1);
INSERT INTO a_table_with_a_long_name_that_is_told_apart_at_its_end_only_b VALUES (1, 2)
