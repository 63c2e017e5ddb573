"""What we learn: fit, judge, publish. May import serving, so that the judged code is the code that serves."""
