import type { Overview as Fleet } from '../../hub/console/schemas.ts'
import { ofDevicesAndRollouts, useData } from '../data.ts'
import { formatCount, plural } from '../format.ts'
import { Card, Command, Empty, Link, Loading, ProblemNote, Short, When } from '../parts/basics.tsx'
import { DeviceItem } from '../parts/device-item.tsx'
import { Table } from '../parts/table.tsx'
import { toRollout } from '../router.ts'
import { SiteMap } from '../parts/map.tsx'
import { DataUse } from './data-use.tsx'
import { RolloutPill } from './rollouts.tsx'

export function Overview() {
  const { value, problem, reload } = useData<Fleet>('/overview', ofDevicesAndRollouts)
  if (!value) return problem ? <ProblemNote problem={problem} retry={reload} /> : <Loading />
  if (value.total === 0)
    return (
      <Empty title="No device has joined yet.">
        <p>Make a token for the first one, then run `meshlet join` on it:</p>
        <Command text="meshlet-hub token create -n edge -s gateway --name gw-1 --uses 1" />
        <p>
          <Link href="/enrolment">Or make the token here</Link>.
        </p>
      </Empty>
    )
  return (
    <>
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {value.rollout && <RolloutNews rollout={value.rollout} />}
      <Figures fleet={value} />
      <div class="columns">
        <Wrong fleet={value} />
        <div class="stack">
          <Certificates fleet={value} />
          <Revisions fleet={value} />
          <Places sites={value.sites} />
          <Groups
            title="Sites"
            empty="Give devices a label `site` to see them by place: `token create --label site=…`."
            groups={value.sites}
            toQuery={toSiteQuery}
          />
          <Groups
            title="Namespaces"
            empty=""
            groups={value.namespaces}
            toQuery={(name) => `namespace=${encodeURIComponent(name)}`}
          />
          <DataUse />
          <p class="muted">
            Hub {value.hub.version}, started <When ms={value.hub.startedMs} />.
          </p>
        </div>
      </div>
    </>
  )
}

const RolloutNews = ({ rollout: r }: { readonly rollout: NonNullable<Fleet['rollout']> }) => (
  <p class={r.state === 'halted' ? 'note bad' : 'note news'} role="status">
    <RolloutPill state={r.state} /> <Link href={toRollout(r.id)}>Rollout {r.id}</Link> to <code>{r.to}</code>, wave{' '}
    {r.wave} of {r.waveCount}
    {r.reason !== '' && `: ${r.reason}`}
  </p>
)

function Figures({ fleet }: { readonly fleet: Fleet }) {
  const { states, total } = fleet
  return (
    <ul class="figures" aria-label="The fleet in numbers">
      <Figure n={states.connected} of={total} text="connected" tone="ok" href="/devices?state=connected" />
      <Figure n={fleet.silent} text="silent over 10 min" tone="warn" href="/devices?state=gone" />
      <Figure n={fleet.refusing} text="refusing configuration" tone="bad" href="/devices?wrong=true" />
      <Figure n={fleet.pending} text="waiting for approval" tone="accent" href="/enrolment" />
      <Figure n={fleet.cloned} text="found twice" tone="bad" href="/enrolment" />
      <Figure n={fleet.ending.ended} text="certificates ended" tone="warn" href="/devices?wrong=true" />
    </ul>
  )
}

function Figure(p: { n: number; of?: number; text: string; tone: string; href: string }) {
  return (
    <li>
      <Link href={p.href} class={p.n > 0 ? p.tone : 'none'}>
        <b>{formatCount(p.n)}</b>
        {p.of !== undefined && <span class="muted"> of {formatCount(p.of)}</span>}
        <span class="text">{p.text}</span>
      </Link>
    </li>
  )
}

function Wrong({ fleet: { wrong, wrongTotal } }: { readonly fleet: Fleet }) {
  return (
    <Card title="What is wrong">
      {wrong.length === 0 ? (
        <p>Nothing: every device is as it should be.</p>
      ) : (
        <ul class="list">
          {wrong.map((row) => (
            <DeviceItem key={row.name} row={row} />
          ))}
        </ul>
      )}
      {wrongTotal > wrong.length && (
        <p>
          <Link href="/devices?wrong=true">All {formatCount(wrongTotal)} of them</Link>
        </p>
      )}
    </Card>
  )
}

/** A group without a site has its place as its name. */
const toSiteQuery = (name: string): string => {
  const [lat, lon] = /^([\d.]+[NS]?),([\d.]+[EW]?)$/.exec(name)?.slice(1) ?? []
  return lat === undefined
    ? `labels=${encodeURIComponent(`site=${name}`)}`
    : `labels=${encodeURIComponent(`lat=${lat},lon=${lon}`)}`
}

function Places({ sites }: { readonly sites: Fleet['sites'] }) {
  const places = sites.flatMap(({ lat, lon, ...site }) =>
    lat === null || lon === null ? [] : [{ ...site, lat, lon, href: `/devices?${toSiteQuery(site.name)}` }],
  )
  if (places.length === 0) return null
  return (
    <Card title="Map of sites">
      <SiteMap places={places} />
    </Card>
  )
}

const Certificates = ({ fleet: { ending } }: { readonly fleet: Fleet }) => (
  <Card title="Certificates">
    <dl class="pairs">
      <dt>ended</dt>
      <dd>
        <Link href="/devices?where=ends%3C-0s">{plural(ending.ended, 'device')}</Link>
      </dd>
      <dt>end within a day</dt>
      <dd>
        <Link href="/devices?where=ends%3E-0s%20and%20ends%3C%2B1d">{plural(ending.day, 'device')}</Link>
      </dd>
      <dt>end within a week</dt>
      <dd>
        <Link href="/devices?where=ends%3E-0s%20and%20ends%3C%2B7d">{plural(ending.week, 'device')}</Link>
      </dd>
    </dl>
  </Card>
)

function Revisions({ fleet: { revisions, total } }: { readonly fleet: Fleet }) {
  return (
    <Card title="Configuration in force">
      {revisions.length === 0 ? (
        <p>No device has taken configuration yet.</p>
      ) : (
        <ul class="bars">
          {revisions.map(({ revision, devices }) => (
            <li key={revision}>
              <Link href={`/devices?search=${encodeURIComponent(revision)}`}>
                <Short text={revision} />
              </Link>
              <meter min={0} max={total} value={devices} aria-label={`Devices with ${revision.slice(0, 12)}`} />
              <span class="number">{formatCount(devices)}</span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  )
}

function Groups(p: { title: string; empty: string; groups: Fleet['namespaces']; toQuery: (name: string) => string }) {
  if (p.groups.length === 0 && p.empty === '') return null
  return (
    <Card title={p.title}>
      {p.groups.length === 0 ? (
        <p class="muted">{p.empty}</p>
      ) : (
        <Table
          label={`${p.title}, a table`}
          columns={['Name', { text: 'Connected', kind: 'number' }, { text: 'Wrong', kind: 'number' }]}
        >
          {p.groups.map(({ name, total, connected, wrong }) => (
            <tr key={name}>
              <td>
                <Link href={`/devices?${p.toQuery(name)}`}>{name === '' ? '(none)' : name}</Link>
              </td>
              <td class="number">
                {formatCount(connected)} of {formatCount(total)}
              </td>
              <td class={wrong > 0 ? 'number warn' : 'number'}>{formatCount(wrong)}</td>
            </tr>
          ))}
        </Table>
      )}
    </Card>
  )
}
