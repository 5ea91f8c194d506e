# Expected numbers of tests/difficulty/stats/test_random_effects.py. Run with:
#   R -e 'install.packages("metafor")' && Rscript random_effects.R
# The figures of the first two blocks are published, see the test for where; this prints them again, with the rest.
suppressMessages(library(metafor))
options(digits = 12)
show <- function(r) {
  p <- predict(r)
  print(c(mean = r$beta[1], se = r$se, low = r$ci.lb, high = r$ci.ub, p = r$pval, tau2 = r$tau2, I2 = r$I2 / 100,
          Q = r$QE, Qp = r$QEp, pi.low = p$pi.lb, pi.high = p$pi.ub))
}
tight <- list(tol = 1e-12, maxiter = 1000)

cat("Kacker 2004: nine laboratories\n")
y <- c(61.0, 61.4, 62.21, 62.3, 62.34, 62.6, 62.7, 62.84, 65.9)
v <- c(0.2025, 1.21, 0.09, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225)
show(rma(y, v, method = "PM", control = tight))
show(rma(y, v, method = "PM", test = "adhoc", control = tight))

cat("CLASP, DerSimonian & Kacker 2007: log odds ratios\n")
dat <- escalc(measure = "OR", ai = c(5, 5, 12, 69, 9, 313), n1i = c(156, 303, 565, 1570, 103, 4659),
              ci = c(8, 17, 9, 94, 11, 352), n2i = c(74, 303, 477, 1565, 105, 4650))
r <- rma(yi, vi, data = dat, method = "PM", test = "adhoc", control = tight)
print(c(tau = sqrt(r$tau2), mu = r$beta[1], se = r$se))

cat("tau2 = 0: the ad hoc factor at work\n")
show(rma(c(0.10, 0.12, 0.15, 0.11), c(0.01, 0.02, 0.03, 0.04), method = "PM", test = "knha", control = tight))
show(rma(c(0.10, 0.12, 0.15, 0.11), c(0.01, 0.02, 0.03, 0.04), method = "PM", test = "adhoc", control = tight))
