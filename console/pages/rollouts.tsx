import { useState } from 'preact/hooks'
import type { RevisionList, RolloutItem, RolloutList } from '../../hub/console/rollout-schemas.ts'
import { ofTopic, useData } from '../data.ts'
import { formatCount } from '../format.ts'
import { Card, Empty, Link, Loading, Pair, Pill, ProblemNote, Short, When } from '../parts/basics.tsx'
import { Table } from '../parts/table.tsx'
import { toRollout } from '../router.ts'
import { RolloutForm } from './rollout-form.tsx'

const concerns = ofTopic('rollouts')

export function Rollouts() {
  const { value, problem, reload } = useData<RolloutList>('/rollouts', concerns)
  const revisions = useData<RevisionList>('/revisions', concerns)
  const [isStarting, setStarting] = useState<string>()
  if (!value) return problem ? <ProblemNote problem={problem} retry={reload} /> : <Loading />
  return (
    <>
      {problem && <ProblemNote problem={problem} retry={reload} />}
      <FolderNote folder={value.folder} />
      {value.may.start && (
        <div class="actions">
          <button type="button" class="primary" onClick={() => setStarting('')}>
            Start a rollout
          </button>
        </div>
      )}
      <InForce inForce={value.inForce} />
      {value.rollouts.length === 0 ? (
        <Empty title="There was no rollout yet.">
          <p>A change of the resources folder becomes a revision, and comes to the devices by one.</p>
        </Empty>
      ) : (
        <RolloutTable rollouts={value.rollouts} />
      )}
      <Revisions list={revisions.value} {...(value.may.start ? { start: (id: string) => setStarting(id) } : {})} />
      {revisions.problem && <ProblemNote problem={revisions.problem} retry={revisions.reload} />}
      {isStarting !== undefined && (
        <RolloutForm
          to={isStarting}
          revisions={revisions.value?.revisions ?? []}
          defaults={value.defaults}
          close={() => setStarting(undefined)}
        />
      )}
    </>
  )
}

function FolderNote({ folder }: { readonly folder: RolloutList['folder'] }) {
  if (folder.held === '' && folder.problems.length === 0) return null
  return (
    <div class="note warn" role="group" aria-label="The resources folder">
      {folder.held !== '' && (
        <p>
          Revision <code>{folder.revision}</code> of the folder waits: {folder.held}
        </p>
      )}
      {folder.problems.length > 0 && <p>What stands in the folder is no revision; an earlier one serves:</p>}
      {folder.problems.map((text) => (
        <p key={text}>{text}</p>
      ))}
    </div>
  )
}

const InForce = ({ inForce }: { readonly inForce: RolloutList['inForce'] }) => (
  <Card title="In force">
    {inForce.length === 0 ? (
      <p>No revision yet: the hub takes the first from its resources folder.</p>
    ) : (
      <dl class="pairs">
        {inForce.map(({ scope, revision }) => (
          <Pair key={scope} name={scope === 'all' ? 'all devices' : scope}>
            <code>{revision}</code>
          </Pair>
        ))}
      </dl>
    )}
  </Card>
)

const TONES: Readonly<Record<RolloutItem['state'], string>> = {
  running: 'accent',
  paused: 'warn',
  completed: 'ok',
  halted: 'bad',
  aborted: 'bad',
  superseded: 'quiet',
  undone: 'quiet',
}
export const RolloutPill = ({ state }: { readonly state: RolloutItem['state'] }) => (
  <Pill tone={TONES[state]}>{state}</Pill>
)

const RolloutTable = ({ rollouts }: { readonly rollouts: readonly RolloutItem[] }) => (
  <Card title="Rollouts">
    <Table label="Rollouts, a table" columns={['Rollout', 'State', 'To', 'For', 'Wave', 'Started', 'By', 'Why']}>
      {rollouts.map((r) => (
        <tr key={r.id}>
          <td>
            <Link href={toRollout(r.id)}>{r.id}</Link>
          </td>
          <td>
            <RolloutPill state={r.state} />
          </td>
          <td>
            <Short text={r.to} />
          </td>
          <td>{r.scope}</td>
          <td class="nowrap">
            {r.wave} of {r.waveCount}
          </td>
          <td class="nowrap">
            <When ms={r.startedMs} />
          </td>
          <td>{r.by}</td>
          <td class="wide">{r.reason}</td>
        </tr>
      ))}
    </Table>
  </Card>
)

function Revisions({
  list,
  start,
}: {
  readonly list: RevisionList | undefined
  readonly start?: (id: string) => void
}) {
  if (!list || list.revisions.length === 0) return null
  return (
    <Card title="Revisions">
      <Table
        label="Revisions, a table"
        columns={[
          'Revision',
          'Taken',
          { text: 'Files', kind: 'number' },
          { text: 'Resources', kind: 'number' },
          'Used',
          ...(start ? ['Roll out'] : []),
        ]}
      >
        {list.revisions.map((one) => (
          <tr key={one.id}>
            <td>
              <Link href={`/devices?search=${one.id}`} title={`Devices that have ${one.id}`}>
                <code>{one.id}</code>
              </Link>
            </td>
            <td class="nowrap">
              <When ms={one.takenMs} />
            </td>
            <td class="number">{formatCount(one.files)}</td>
            <td class="number">{formatCount(one.resources)}</td>
            <td class="wide">{one.use.join(', ')}</td>
            {start && (
              <td>
                <button type="button" aria-label={`Roll out ${one.id}`} onClick={() => start(one.id)}>
                  Roll out
                </button>
              </td>
            )}
          </tr>
        ))}
      </Table>
    </Card>
  )
}
