"""The growth of B6 as a picture: time and memory over the size of the table, drawn by hand as SVG."""
import math
import os

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 780, 360, 80, 250, 40, 56
COLOURS = ("#0b6e99", "#c2571a", "#5b8c2a", "#7a4fa3", "#9a1750", "#55606b")


def round_steps(most, wanted=5):
    """Tick marks from 0 at a round distance, up to the first at or above `most`."""
    rough = most / wanted or 1
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [step * count for count in range(math.ceil(most / step - 1e-9) + 1)]


def label(value):
    return f"{value:,.10g}"


class Panel:
    """One pair of axes, both linear from 0: what grows with the table is a straight line, what grows faster bends upwards."""

    def __init__(self, top, title, unit, series):
        """`series`: title -> [(millions of rows, median, least, most)]."""
        self.top, self.title, self.unit, self.series = top, title, unit, series
        self.xs = round_steps(max(point[0] for points in series.values() for point in points), 8)
        self.ys = round_steps(max(point[3] for points in series.values() for point in points))

    def x(self, value):
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.xs[-1]

    def y(self, value):
        return self.top + HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.ys[-1]

    def draw(self):
        yield f'<text x="{LEFT}" y="{self.top + 22}" class="title">{self.title}</text>'
        for value in self.ys:
            yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}" class="grid"/>'
            yield f'<text x="{LEFT - 8}" y="{self.y(value) + 4:.1f}" text-anchor="end">{label(value)}</text>'
        for value in self.xs:
            yield f'<line x1="{self.x(value):.1f}" x2="{self.x(value):.1f}" y1="{self.y(0):.1f}" y2="{self.y(0) + 5:.1f}" class="axis"/>'
            yield f'<text x="{self.x(value):.1f}" y="{self.y(0) + 20:.1f}" text-anchor="middle">{label(value)}</text>'
        yield f'<path d="M{LEFT} {self.y(self.ys[-1]):.1f} V{self.y(0):.1f} H{WIDTH - RIGHT}" class="axis"/>'
        yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{self.y(0) + 42:.1f}" text-anchor="middle">million items in the table</text>'
        middle = (self.y(0) + self.y(self.ys[-1])) / 2
        yield f'<text transform="translate(20 {middle:.1f}) rotate(-90)" text-anchor="middle">{self.unit}</text>'
        yield from self.lines()

    def lines(self):
        # Names stand beside the last points, each at least a line of text below the one above.
        free = self.top
        ends = sorted(zip(self.series.items(), COLOURS * len(self.series)), key=lambda pair: self.y(pair[0][1][-1][1]))
        for (name, points), colour in ends:
            path = " L".join(f"{self.x(size):.1f} {self.y(middle):.1f}" for size, middle, _, _ in points)
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            for size, middle, least, most in points:
                yield f'<line x1="{self.x(size):.1f}" x2="{self.x(size):.1f}" y1="{self.y(least):.1f}" y2="{self.y(most):.1f}" stroke="{colour}"/>'
                yield (f'<circle cx="{self.x(size):.1f}" cy="{self.y(middle):.1f}" r="4" fill="{colour}"><title>{name}, {label(size)} million: '
                       f'{middle:.3g} {self.unit}</title></circle>')
            free = max(free + 16, self.y(points[-1][1]) + 4)
            yield f'<text x="{self.x(points[-1][0]) + 12:.1f}" y="{free:.1f}" style="fill: {colour}">{name} ({points[-1][1]:.3g})</text>'


def picture(panels):
    height = HEIGHT * len(panels)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        "<style>text { font: 13px sans-serif; fill: #222 } .title { font-size: 15px; font-weight: bold } "
        ".axis { stroke: #222; fill: none } .grid { stroke: #ddd }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(line for panel in panels for line in panel.draw()), "</svg>", ""])


def draw_growth(admin, results, folder):
    """Writes the case's picture: a line for each way, its points the sizes, their bars from least to most."""
    panels = []
    for measure, factor, title, unit in (("seconds", 1, "Time of a cleanup that removes half of the table", "seconds"),
                                         ("backend_kb", 1 / 1024, "Peak memory of the backend, without shared buffers", "MB")):
        series = {}
        for entrant in results.entrants:
            values = [value * factor for value in results.series(entrant.key, measure).values()]
            if values:
                name = ", ".join(part for part in (results.case.way_title(entrant), entrant.data.kind) if part)
                series.setdefault(name, []).append((entrant.data.variables["items"] / 1e6, sorted(values)[len(values) // 2], min(values), max(values)))
        if series:
            panels.append(Panel(HEIGHT * len(panels), title, unit, series))
    if not panels:
        return []
    file = os.path.join(folder, f"{results.case.name}.svg")
    with open(file, "w") as out:
        out.write(picture(panels))
    return [f"drawn: {os.path.basename(file)}"]
