# tools/plot_loss.awk - losses of several trainings in one picture.
#
# Usage: awk -f tools/plot_loss.awk [-v width=W] [-v height=H] REFERENCE PART...
#
# Each file has lines `step TAB loss', as train_lm --log writes them. The
# reference is drawn with dots, part i with the digit i; a digit covers a dot,
# so dots show where a part is missing or strays. Below stands how far each
# part is from the reference at most, step by step.

BEGIN {
    FS = "\t"
    if (!width)
        width = 64
    if (!height)
        height = 15
    low = 1e30
    high = -1e30
    first = 1e30
    last = -1
}

FNR == 1 { parts++ }

{
    step = $1 + 0
    # A step that was taken again after a crash counts as taken last.
    if (!((parts, step) in loss)) {
        at[parts, count[parts]++] = step
    }
    loss[parts, step] = $2 + 0
    if (step < first)
        first = step
    if (step > last)
        last = step
    if ($2 + 0 < low)
        low = $2 + 0
    if ($2 + 0 > high)
        high = $2 + 0
}

function column(step) {
    return last > first ? int((step - first) * (width - 1) / (last - first)) : 0
}

# Logarithmic, since losses fall fast and then slowly.
function row(value) {
    return high > low ? \
        int(log(high / value) * (height - 1) / log(high / low) + 0.5) : 0
}

# The mean loss of each column, as a mark.
function draw(part, mark,    i, c, sum, n) {
    for (i = 0; i < count[part]; i++) {
        c = column(at[part, i])
        sum[c] += loss[part, at[part, i]]
        n[c]++
    }
    for (c in sum)
        cell[row(sum[c] / n[c]), c + 0] = mark
}

# The greatest distance from the reference, in percent.
function stray(part,    i, step, far, d) {
    for (i = 0; i < count[part]; i++) {
        step = at[part, i]
        if (!((1, step) in loss))
            continue
        d = loss[part, step] / loss[1, step] - 1
        if (d < 0)
            d = -d
        if (d > far)
            far = d
    }
    return far * 100
}

END {
    if (parts == 0 || last < 0)
        exit 1
    draw(1, ".")
    for (p = 2; p <= parts; p++)
        draw(p, p - 1)
    for (r = 0; r < height; r++) {
        line = ""
        for (c = 0; c < width; c++)
            line = line (((r, c) in cell) ? cell[r, c] : " ")
        sub(/ +$/, "", line)
        label = "      "
        if (r % 7 == 0)
            label = sprintf("%6.2f", high * exp(-r * log(high / low) / (height - 1)))
        printf "%s |%s\n", label, line
    }
    rule = ""
    for (c = 0; c < width; c++)
        rule = rule "-"
    printf "  loss +%s\n", rule
    printf "       %-8d%*d step\n", first, width - 8, last
    for (p = 2; p <= parts; p++)
        printf "       %d: steps %d to %d, at most %.4f %% from the reference\n",
            p - 1, at[p, 0], at[p, count[p] - 1], stray(p)
}
