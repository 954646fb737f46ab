/**
 * Counters are plain numbers that hot paths add to; the text form is built only when somebody scrapes. Names are an
 * API: mesh_<area>_<what>_<unit>, counters end in _total, labels come from closed sets (never host, path or client id).
 * Those of Istio (istio_*) have its names and labels.
 */

/** One labelled number. Hot paths keep the cell and do `cell.value++`. */
export type Cell = { value: number }
type LabelValues<L extends string> = Readonly<Record<L, string>>
export interface Family<L extends string> {
  cell(labels: LabelValues<L>): Cell
  /** Of a family with one label: a cell for each of its values. */
  cells<V extends string>(values: readonly V[]): Readonly<Record<V, Cell>>
}
export interface Histogram<L extends string> {
  cell(labels: LabelValues<L>): HistogramCell
}
export type HistogramCell = { observe(value: number): void }

export type MetricInfo = {
  readonly name: string
  readonly help: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
}

type Stored = MetricInfo & {
  readonly series: Map<string, Cell | Buckets>
  readonly read?: () => number
  readonly bounds?: readonly number[]
}

export class Metrics {
  readonly #families = new Map<string, Stored>()
  readonly #updates: (() => void)[] = []

  /** A name without _total does not compile. Asking twice for a name gives the same family. */
  counter<const L extends string = never>(
    name: `mesh_${string}_total`,
    help: string,
    labels: readonly L[] = [],
  ): Family<L> {
    return this.#family({ name, help, kind: 'counter', labels, series: new Map() })
  }
  gauge<const L extends string = never>(
    name: `mesh_${string}` | 'istio_build',
    help: string,
    labels: readonly L[] = [],
  ): Family<L> {
    return this.#family({ name, help, kind: 'gauge', labels, series: new Map() })
  }
  /** A gauge whose value is asked for at scrape time. */
  gaugeOf(name: `mesh_${string}`, help: string, read: () => number): void {
    this.#families.set(name, { name, help, kind: 'gauge', labels: [], series: new Map(), read })
  }
  /** A counter that somebody else keeps. */
  counterOf(name: `mesh_${string}_total`, help: string, read: () => number): void {
    this.#families.set(name, { name, help, kind: 'counter', labels: [], series: new Map(), read })
  }
  /** `bounds`: upper bounds of the buckets, ascending, in the unit that the name ends with. */
  histogram<const L extends string = never>(
    name: `mesh_${string}`,
    help: string,
    bounds: readonly number[],
    labels: readonly L[] = [],
  ): Histogram<L> {
    const stored = this.#stored({ name, help, kind: 'histogram', labels, series: new Map(), bounds })
    return { cell: (by) => findOrAdd(stored.series, labelText(labels, by), () => new Buckets(bounds)) as Buckets }
  }

  /** Names and labels are a standard's: the caller writes the text of the labels (`labelText`) and bounds how many. */
  standardCounter(name: `istio_${string}_total`, help: string, labels: readonly string[]): (text: string) => Cell {
    const { series } = this.#stored({ name, help, kind: 'counter', labels, series: new Map() })
    return (text) => findOrAdd(series, text, () => ({ value: 0 })) as Cell
  }
  standardHistogram(
    name: `istio_${string}`,
    help: string,
    labels: readonly string[],
    bounds: readonly number[],
  ): (text: string) => HistogramCell {
    const { series } = this.#stored({ name, help, kind: 'histogram', labels, series: new Map(), bounds })
    return (text) => findOrAdd(series, text, () => new Buckets(bounds)) as Buckets
  }
  /** `update` is called whenever values are about to be read. */
  beforeReading(update: () => void): void {
    this.#updates.push(update)
  }

  list(): readonly MetricInfo[] {
    return [...this.#families.values()].map(({ name, help, kind, labels }) => ({ name, help, kind, labels }))
  }
  /** Sum over all series whose labels include `by`; 0 when there is none. For status and tests. */
  total(name: string, by: Readonly<Record<string, string>> = {}): number {
    for (const update of this.#updates) update()
    const family = this.#families.get(name)
    if (family?.read) return family.read()
    const wanted = Object.entries(by).map(([k, v]) => `${k}="${escaped(v)}"`)
    let sum = 0
    for (const [labels, cell] of family?.series ?? []) {
      if (!(cell instanceof Buckets) && wanted.every((w) => labels.split(',').includes(w))) sum += cell.value
    }
    return sum
  }
  /** Prometheus text exposition format 0.0.4. */
  text(): string {
    for (const update of this.#updates) update()
    const lines: string[] = []
    for (const f of this.#families.values()) {
      lines.push(`# HELP ${f.name} ${f.help}`, `# TYPE ${f.name} ${f.kind}`)
      if (f.read) lines.push(`${f.name} ${f.read()}`)
      for (const [labels, cell] of f.series) {
        if (cell instanceof Buckets) lines.push(...cell.lines(f.name, labels))
        else lines.push(`${f.name}${labels && `{${labels}}`} ${cell.value}`)
      }
    }
    return lines.join('\n') + '\n'
  }

  #family<L extends string>(made: Stored): Family<L> {
    const stored = this.#stored(made)
    const cell = (by: Readonly<Record<string, string>>): Cell =>
      findOrAdd(stored.series, labelText(made.labels, by), () => ({ value: 0 })) as Cell
    const [label = ''] = made.labels
    const cells = <V extends string>(values: readonly V[]): Readonly<Record<V, Cell>> =>
      Object.fromEntries(values.map((value) => [value, cell({ [label]: value })])) as Record<V, Cell>
    return { cell, cells }
  }
  #stored(made: Stored): Stored {
    const known = this.#families.get(made.name)
    if (known) return known
    this.#families.set(made.name, made)
    return made
  }
}

class Buckets {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }
  observe(value: number): void {
    let i = 0
    while (i < this.#bounds.length && value > this.#bounds[i]!) i++
    this.#counts[i]!++
    this.#sum += value
  }
  lines(name: string, labels: string): string[] {
    const before = labels && `${labels},`
    let seen = 0
    const out = [...this.#bounds, '+Inf'].map(
      (le, i) => `${name}_bucket{${before}le="${le}"} ${(seen += this.#counts[i]!)}`,
    )
    const own = labels && `{${labels}}`
    return [...out, `${name}_sum${own} ${this.#sum}`, `${name}_count${own} ${seen}`]
  }
}

function labelText(names: readonly string[], values: Readonly<Record<string, string>>): string {
  return names.map((n) => `${n}="${escaped(values[n] ?? '')}"`).join(',')
}
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll(',', ';')
}
function findOrAdd<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}
