"""Studies: many trainings whose results are compared. Everything here can be left out of a training."""
