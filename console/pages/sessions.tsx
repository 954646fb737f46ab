import type { SessionItem, SessionList } from '../../hub/console/schemas.ts'
import { remove } from '../api.ts'
import { ofTopic, useData } from '../data.ts'
import { Link, Loading, Pill, ProblemNote, When } from '../parts/basics.tsx'
import { useQuestion } from '../parts/dialog.tsx'
import { DECISIONS, Table } from '../parts/table.tsx'

const concerns = ofTopic('audit')

export function Sessions() {
  const { value, problem, reload } = useData<SessionList>('/sessions', concerns)
  const question = useQuestion()
  if (!value) return problem ? <ProblemNote problem={problem} retry={reload} /> : <Loading />
  const end = (one: SessionItem): void =>
    question.ask({
      title: `End the session of ${one.name}?`,
      text: <p>Their pages stop within seconds; they may log in again.</p>,
      yes: 'End it',
      isDangerous: true,
      act: async () => {
        await remove(`/sessions/${one.id}`)
        reload()
      },
      said: `The session of ${one.name} is over.`,
    })
  return (
    <>
      <p>
        Who is logged in. <Link href="/audit">The audit log</Link> says what they did.
      </p>
      <Table label="Sessions" columns={['Who', 'May', 'By', 'From', 'Since', 'Last seen', 'Ends', DECISIONS]}>
        {value.sessions.map((one) => (
          <Row key={one.id} one={one} end={() => end(one)} />
        ))}
      </Table>
      {question.dialog}
    </>
  )
}

const Row = ({ one, end }: { readonly one: SessionItem; readonly end: () => void }) => (
  <tr>
    <td>
      {one.name} {one.own && <Pill tone="accent">you</Pill>}
    </td>
    <td>{one.grants.map((g) => `${g.role} of ${g.namespace === '*' ? 'all' : g.namespace}`).join(', ')}</td>
    <td>{one.via}</td>
    <td>{one.address}</td>
    {[one.createdMs, one.seenMs, one.endsMs].map((ms, i) => (
      <td key={i}>
        <When ms={ms} />
      </td>
    ))}
    <td>
      {!one.own && (
        <button type="button" aria-label={`End the session of ${one.name}`} onClick={end}>
          End
        </button>
      )}
    </td>
  </tr>
)
