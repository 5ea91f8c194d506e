# Expected numbers of tests/difficulty/stats/test_oracles.py. Run with:
#   apt-get install r-base-core r-cran-clubsandwich r-cran-coin r-cran-geepack && Rscript stats.R
# R 4.2.2, clubSandwich 0.5.8, coin 1.4-2, geepack 1.3.9 printed what the tests hold.
suppressMessages({library(clubSandwich); library(coin); library(geepack)})
options(digits = 12)

# one small data set, made by a linear congruential generator that Python repeats exactly
lcg <- function(n, seed) { x <- numeric(n); s <- seed; for (i in seq_len(n)) { s <- (s * 16807) %% 2147483647; x[i] <- s / 2147483647 }; x }

cat("mcnemar exact: lost 14, gained 5\n")
print(binom.test(14, 19, 0.5)$p.value)

cat("isotonic: isoreg\n")
y <- round(10 * lcg(12, 7)) + 0:11 / 2
print(y); print(isoreg(y)$yf)

cat("wilson: prop.test without continuity correction, 37 of 50\n")
print(prop.test(37, 50, correct = FALSE)$conf.int[1:2])

cat("clustered mean: lm + CR1 of clubSandwich, 40 items in 8 clusters\n")
d <- lcg(40, 3) - 0.3; g <- rep(1:8, each = 5); d <- d + rep(lcg(8, 5), each = 5)
fit <- lm(d ~ 1)
print(c(mean(d), sqrt(vcovCR(fit, cluster = g, type = "CR1")[1, 1])))

cat("Jonckheere-Terpstra with ties: statistic by hand, variance by permutation theory of coin (linear-by-linear on the counts)\n")
v <- round(8 * lcg(30, 11)) ; k <- rep(1:3, times = c(8, 10, 12)); v <- v + k
J <- 0; for (a in 1:2) for (b in (a + 1):3) { x <- v[k == a]; z <- v[k == b]; J <- J + sum(outer(x, z, "<")) + sum(outer(x, z, "==")) / 2 }
print(J)
# Kendall's S with the groups as the second variable: J = (S + number of pairs in different groups) / 2; cor.test uses the
# same tie-corrected variance
ct <- suppressWarnings(cor.test(v, k, method = "kendall", exact = FALSE))
print(c(ct$statistic, ct$p.value))

cat("Page with ties: coin friedman_test with ordered columns is the same linear-by-linear statistic\n")
m <- matrix(round(3 * lcg(60, 13)), 12, 5) + rep(c(0, 0, 1, 1, 1), each = 12)
dat <- data.frame(y = as.vector(m), t = factor(rep(1:5, each = 12), ordered = TRUE), b = factor(rep(1:12, 5)))
pt <- friedman_test(y ~ t | b, data = dat)
print(c(statistic(pt), pvalue(pt)))

cat("holm\n"); print(p.adjust(c(0.01, 0.04, 0.03, 0.005, NA, 0.5), "holm"))

cat("logistic GEE, independence, level x tier: geepack\n")
n <- 60; cl <- rep(1:n, each = 4); lev <- rep(c(0, 0.3, 0.5, 0.8), n); tier <- rep(1 + (seq_len(n) - 1) %% 3, each = 4) - 2
p <- 1 / (1 + exp(-(1.5 - 2 * lev - 0.5 * tier - lev * tier))); yy <- as.numeric(lcg(4 * n, 17) < p)
gee <- geeglm(yy ~ lev * tier, id = cl, family = binomial, corstr = "independence")
print(coef(summary(gee))["lev:tier", 1:2])
