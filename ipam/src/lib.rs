//! Address management: the compare-and-swap loop that carries plans out.
