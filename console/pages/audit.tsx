import { useEffect, useState } from 'preact/hooks'
import type { AuditItem, AuditPage } from '../../hub/console/schemas.ts'
import { ask, Problem } from '../api.ts'
import { ofTopic, useData } from '../data.ts'
import { Empty, Link, Loading, ProblemNote, When } from '../parts/basics.tsx'
import { Table } from '../parts/table.tsx'
import { readText } from '../form.ts'
import { goTo } from '../router.ts'

const PAGE = 100
const DAY_MS = 86_400_000
const concerns = ofTopic('audit')

/** As in the address of the view, and as the API calls them. */
const FILTERS = ['subject', 'event', 'actor', 'since', 'until'] as const
const EVENTS = [
  ['device.', 'devices'],
  ['token.', 'tokens'],
  ['rollout.', 'rollouts'],
  ['revision.', 'revisions'],
  ['tunnel.', 'tunnels'],
  ['console.', 'logins'],
  ['hub.', 'backups'],
  ['roots.', 'roots'],
] as const

export function Audit({ query }: { readonly query: URLSearchParams }) {
  const asked = toAsked(query)
  const of = asked === '' ? '' : `&${asked}`
  const { value, problem, reload } = useData<AuditPage>(`/audit?limit=${PAGE}${of}`, concerns)
  const older = useOlder(of, value?.entries.at(-1)?.id)
  const entries = [...(value?.entries ?? []), ...older.entries]
  return (
    <>
      <Filters key={asked} query={query} asked={asked} />
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {!value && !problem && <Loading />}
      {value && entries.length === 0 && (
        <Empty title={asked === '' ? 'Nothing was done yet.' : 'Nothing like that was done.'}>
          <p>Tokens, joins, approvals, revocations and logins are written down here.</p>
        </Empty>
      )}
      {entries.length > 0 && <Entries entries={entries} />}
      {older.problem && <ProblemNote problem={older.problem} />}
      {entries.length >= PAGE && !older.isAll && (
        <div class="actions">
          <button type="button" onClick={older.more}>
            Older
          </button>
        </div>
      )}
    </>
  )
}

/** Days of the browser's clock, as milliseconds; the last day counts whole. */
function toAsked(query: URLSearchParams): string {
  const asked = new URLSearchParams()
  for (const name of FILTERS) {
    const text = query.get(name) ?? ''
    const dayMs = name === 'since' || name === 'until' ? new Date(`${text}T00:00`).getTime() : undefined
    if (dayMs === undefined) {
      if (text !== '') asked.set(name, text)
    } else if (!Number.isNaN(dayMs)) asked.set(name, String(dayMs + (name === 'until' ? DAY_MS : 0)))
  }
  return asked.toString()
}

function Filters({ query, asked }: { readonly query: URLSearchParams; readonly asked: string }) {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    const next = new URLSearchParams(
      FILTERS.map((name) => [name, readText(form, name)]).filter(([, text]) => text !== ''),
    )
    goTo(next.size === 0 ? '/audit' : `/audit?${next}`)
  }
  const field = (name: (typeof FILTERS)[number]) => ({ name, defaultValue: query.get(name) ?? '' })
  return (
    <form class="filters" role="search" onSubmit={submit}>
      <label class="search">
        About
        <input type="search" {...field('subject')} placeholder="a device, or the id of a token" maxLength={253} />
      </label>
      <label>
        What
        <select name="event" defaultValue={query.get('event') ?? ''}>
          <option value="">anything</option>
          {EVENTS.map(([value, text]) => (
            <option key={value} value={value} selected={query.get('event') === value}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <label>
        Who
        <input type="search" {...field('actor')} placeholder="operator:ann" maxLength={300} />
      </label>
      <label>
        From
        <input type="date" {...field('since')} />
      </label>
      <label>
        To
        <input type="date" {...field('until')} />
      </label>
      <button type="submit">Show</button>
      {asked !== '' && <Link href="/audit">Show all</Link>}
      <a class="button" href={`/api/v1/audit.csv${asked === '' ? '' : `?${asked}`}`} download>
        As CSV
      </a>
    </form>
  )
}

/** What came before the page that is kept up to date. */
function useOlder(of: string, oldestId: number | undefined) {
  const [entries, setEntries] = useState<readonly AuditItem[]>([])
  const [isAll, setAll] = useState(false)
  const [problem, setProblem] = useState<Problem>()
  useEffect(() => {
    setEntries([])
    setAll(false)
  }, [of])
  const before = entries.at(-1)?.id ?? oldestId
  const more = (): void => {
    ask<AuditPage>(`/audit?limit=${PAGE}&before=${before}${of}`).then(
      (page) => {
        setEntries([...entries, ...page.entries])
        setAll(page.entries.length < PAGE)
      },
      (thrown: unknown) => {
        if (thrown instanceof Problem) setProblem(thrown)
      },
    )
  }
  // What is new pushes the page down: entries that stand in both are shown once.
  return { entries: oldestId === undefined ? [] : entries.filter(({ id }) => id < oldestId), isAll, problem, more }
}

const Entries = ({ entries }: { readonly entries: readonly AuditItem[] }) => (
  <Table label="Entries of the audit log" columns={['When', 'Who', 'What', 'About', 'From', 'Detail']}>
    {entries.map((one) => (
      <tr key={one.id}>
        <td class="nowrap">
          <When ms={one.atMs} />
        </td>
        <td>{one.actor}</td>
        <td class="nowrap">{one.event}</td>
        <td>
          <Link href={`/audit?subject=${encodeURIComponent(one.subject)}`}>{one.subject}</Link>
        </td>
        <td>{one.address === '' ? <span class="muted">–</span> : one.address}</td>
        <td class="wide">{one.detail}</td>
      </tr>
    ))}
  </Table>
)
