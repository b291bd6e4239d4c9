//! Configuration: built-in defaults, the user's file, `TERMALIVE_CFG_*`, flags; merged in this order.
