"""What a calibration rests on, as one HTML page that a person can judge it by."""
