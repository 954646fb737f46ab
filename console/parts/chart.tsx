/** A chart over time, in the colours of the page, with its content as text for whoever does not see it. */
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'

type Props = {
  readonly title: string
  readonly unit: string
  /** What it shows, in a sentence. */
  readonly summary: string
  readonly times: readonly number[]
  readonly series: readonly { readonly label: string; readonly values: readonly (number | null)[] }[]
}

const HEIGHT_PX = 180
const COLOURS = ['--accent', '--warn', '--ok', '--bad']

export function Chart({ title, unit, summary, times, series }: Props) {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const host = place.current!
    const draw = (): uPlot => drawPlot(host, { unit, times, series })
    let plot = draw()
    const again = (): void => {
      plot.destroy()
      plot = draw()
    }
    const size = new ResizeObserver(() => plot.setSize({ width: host.clientWidth || 300, height: HEIGHT_PX }))
    size.observe(host)
    const theme = new MutationObserver(again)
    theme.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', again)
    return () => {
      size.disconnect()
      theme.disconnect()
      dark.removeEventListener('change', again)
      plot.destroy()
    }
  }, [times, series])
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <div ref={place} class="chart" aria-hidden="true" />
      <p class="hidden">{summary}</p>
    </figure>
  )
}

function drawPlot(host: HTMLElement, { unit, times, series }: Pick<Props, 'unit' | 'times' | 'series'>): uPlot {
  const style = getComputedStyle(document.documentElement)
  const colourOf = (name: string): string => toRgb(style.getPropertyValue(name), host)
  const axis = {
    stroke: colourOf('--muted'),
    grid: { stroke: colourOf('--line'), width: 1 },
    ticks: { show: false },
  }
  return new uPlot(
    {
      width: host.clientWidth || 300,
      height: HEIGHT_PX,
      legend: { show: false },
      cursor: { show: false },
      axes: [
        { ...axis, values: (_, all) => all.map((sec) => formatTick(sec * 1_000, times)) },
        { ...axis, size: 56, values: (_, all) => all.map((v) => `${v} ${unit}`) },
      ],
      scales: { y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
      series: [
        {},
        ...series.map(({ label }, i) => ({
          label,
          stroke: colourOf(COLOURS[i % COLOURS.length]!),
          width: 1.5,
          points: { show: times.length < 3 },
        })),
      ],
    },
    [times.map((ms) => ms / 1_000), ...series.map(({ values }) => [...values])],
    host,
  )
}

const DAY_MS = 86_400_000
const pad = (n: number): string => String(n).padStart(2, '0')
/** The hour, or the day where it is more than two of them. */
function formatTick(ms: number, times: readonly number[]): string {
  const at = new Date(ms)
  const spanMs = (times.at(-1) ?? 0) - (times[0] ?? 0)
  return spanMs > 2 * DAY_MS
    ? `${pad(at.getMonth() + 1)}-${pad(at.getDate())}`
    : `${pad(at.getHours())}:${pad(at.getMinutes())}`
}

/** A canvas does not know light-dark(). */
function toRgb(colour: string, host: HTMLElement): string {
  const probe = document.createElement('span')
  probe.style.color = colour
  host.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
