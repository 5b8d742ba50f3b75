//! zdm-pg
mod position;
