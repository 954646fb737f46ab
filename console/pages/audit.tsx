import { useEffect, useState } from 'preact/hooks'
import type { AuditItem, AuditPage } from '../../hub/console/schemas.ts'
import { ask, Problem } from '../api.ts'
import { ofTopic, useData } from '../data.ts'
import { Empty, Link, Loading, ProblemNote, When } from '../parts/basics.tsx'
import { Table } from '../parts/table.tsx'
import { readText } from '../form.ts'
import { goTo } from '../router.ts'

const PAGE = 100
const concerns = ofTopic('audit')

export function Audit({ subject }: { readonly subject: string }) {
  const of = subject === '' ? '' : `&subject=${encodeURIComponent(subject)}`
  const { value, problem, reload } = useData<AuditPage>(`/audit?limit=${PAGE}${of}`, concerns)
  const older = useOlder(of, value?.entries.at(-1)?.id)
  const entries = [...(value?.entries ?? []), ...older.entries]
  return (
    <>
      <form
        class="filters"
        role="search"
        onSubmit={(event) => {
          event.preventDefault()
          const text = readText(new FormData(event.currentTarget), 'subject')
          goTo(text === '' ? '/audit' : `/audit?subject=${encodeURIComponent(text)}`)
        }}
      >
        <label class="search">
          About
          <input
            type="search"
            name="subject"
            key={subject}
            defaultValue={subject}
            placeholder="a device, or the id of a token"
            maxLength={253}
          />
        </label>
        <button type="submit">Show</button>
        {subject !== '' && <Link href="/audit">Show all</Link>}
      </form>
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {!value && !problem && <Loading />}
      {value && entries.length === 0 && (
        <Empty title={subject === '' ? 'Nothing was done yet.' : `Nothing was done about ${subject}.`}>
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
