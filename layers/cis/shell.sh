# New files of people are not for all, and idle shells end: CIS's "User Accounts and Environment".
umask 027
TMOUT=900
readonly TMOUT
export TMOUT
