/**
 * Labels and scores beyond this (either sign) have no loss: a client may send any number as a label, and of a greater one
 * the square of the squared error exceeds what numbers hold, so that a single label would be the mean of all.
 */
export const MEASURABLE_MAX = 1e75
