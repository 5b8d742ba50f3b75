//! zdm-pg
