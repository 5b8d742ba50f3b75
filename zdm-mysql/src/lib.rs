//! MySQL 5.7 to 9 and MariaDB 10.5 to 11 for [zdm](zdm_core): as a source by
//! the binlog, and as a target by LOAD DATA and set-based statements.
