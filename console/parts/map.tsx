/** Places of the earth, drawn without tiles: an SVG that the page makes itself, as wide as the places are apart. */
import { Link } from './basics.tsx'

export type Place = {
  readonly name: string
  readonly href: string
  readonly lat: number
  readonly lon: number
  readonly total: number
  readonly connected: number
  readonly wrong: number
}
const WIDTH = 640
const HEIGHT = 320
const EDGE = 28
/** Degrees at least from side to side: one site alone is not the whole world. */
const MIN_SPAN = 0.5
/** More names than these stand over one another. */
const MAX_NAMED = 25

export function SiteMap({ places }: { readonly places: readonly Place[] }) {
  const { x, y, grid } = project(places)
  const biggest = Math.max(...places.map(({ total }) => total))
  return (
    <figure class="map">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="group" aria-label={`Map of ${places.length} sites`}>
        {grid.map(({ key, x1, y1, x2, y2 }) => (
          <line key={key} class="grid-line" x1={x1} y1={y1} x2={x2} y2={y2} />
        ))}
        {places.map((one) => (
          <Link key={one.name} href={one.href} aria-label={describe(one)}>
            <circle
              class={one.wrong > 0 ? 'bad' : one.connected < one.total ? 'warn' : 'ok'}
              cx={x(one.lon)}
              cy={y(one.lat)}
              r={6 + 8 * Math.sqrt(one.total / biggest)}
            >
              <title>{describe(one)}</title>
            </circle>
            {places.length <= MAX_NAMED && (
              <text x={x(one.lon)} y={y(one.lat) - 16} text-anchor="middle">
                {one.name.slice(0, 24)}
              </text>
            )}
          </Link>
        ))}
      </svg>
      <figcaption>
        Sites by `lat` and `lon`, without a map beneath: north is up. Red: something is wrong; yellow: some are not
        connected.
      </figcaption>
    </figure>
  )
}

const describe = ({ name, total, connected, wrong }: Place): string =>
  `${name}: ${connected} of ${total} connected, ${wrong} with something wrong`

/** Degrees as they are, and longitude narrower towards the poles (equirectangular at the middle). */
function project(places: readonly Place[]) {
  const lats = places.map(({ lat }) => lat)
  const lons = places.map(({ lon }) => lon)
  const middle = { lat: (Math.min(...lats) + Math.max(...lats)) / 2, lon: (Math.min(...lons) + Math.max(...lons)) / 2 }
  const narrow = Math.max(0.1, Math.cos((middle.lat * Math.PI) / 180))
  const span = {
    lat: Math.max(MIN_SPAN, Math.max(...lats) - Math.min(...lats)),
    lon: Math.max(MIN_SPAN, Math.max(...lons) - Math.min(...lons)) * narrow,
  }
  const scale = Math.min((WIDTH - 2 * EDGE) / span.lon, (HEIGHT - 2 * EDGE) / span.lat)
  const x = (lon: number): number => WIDTH / 2 + (lon - middle.lon) * narrow * scale
  const y = (lat: number): number => HEIGHT / 2 - (lat - middle.lat) * scale
  const step = [0.1, 0.5, 1, 5, 10, 30].find((one) => Math.max(span.lat, span.lon / narrow) / one <= 12) ?? 30
  const grid = []
  for (let lat = Math.ceil(-90 / step) * step; lat <= 90; lat += step)
    if (y(lat) >= 0 && y(lat) <= HEIGHT) grid.push({ key: `lat${lat}`, x1: 0, x2: WIDTH, y1: y(lat), y2: y(lat) })
  for (let lon = Math.ceil(-180 / step) * step; lon <= 180; lon += step)
    if (x(lon) >= 0 && x(lon) <= WIDTH) grid.push({ key: `lon${lon}`, x1: x(lon), x2: x(lon), y1: 0, y2: HEIGHT })
  return { x, y, grid }
}
