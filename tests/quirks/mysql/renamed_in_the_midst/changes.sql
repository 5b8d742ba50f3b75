RENAME TABLE t TO t_old, t_new TO t
