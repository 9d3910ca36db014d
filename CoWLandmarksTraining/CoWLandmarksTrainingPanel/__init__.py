"""Parts of the panel of the module CoW Landmarks Training. Qt, no numerics, no torch."""
