/** Who waits for approval: decided about one by one, or many at once. */
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import type { ApprovedMany, Enrolment as Waiting, JoinRequestItem, Whoami } from '../../hub/console/schemas.ts'
import { post, Problem } from '../api.ts'
import { formatCount, plural } from '../format.ts'
import { Card, Labels, Link, Short, When } from '../parts/basics.tsx'
import { decideAbout } from '../parts/decide.ts'
import type { Question } from '../parts/dialog.tsx'
import { toDevice } from '../router.ts'

export const mayIn = (me: Whoami, role: 'operator' | 'admin', namespace: string): boolean =>
  me.grants.some((g) => (g.namespace === '*' || g.namespace === namespace) && (g.role === 'admin' || g.role === role))

export type Asking = { readonly me: Whoami; readonly reload: () => void; readonly ask: (q: Question) => void }

export function WaitingList({ waiting, me, reload, ask }: Pick<Waiting, 'waiting'> & Asking) {
  const mine = waiting.filter(({ namespace }) => mayIn(me, 'operator', namespace))
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const picked = mine.filter(({ keyId }) => chosen.has(keyId))
  const choose = (keyId: string, isChosen: boolean): void => {
    const next = new Set(chosen)
    if (isChosen) next.add(keyId)
    else next.delete(keyId)
    setChosen(next)
  }
  return (
    <Card title="Waiting for approval">
      {mine.length > 1 && (
        <div class="actions">
          <label class="line">
            <input
              type="checkbox"
              checked={picked.length === mine.length}
              onChange={({ currentTarget }) =>
                setChosen(new Set(currentTarget.checked ? mine.map(({ keyId }) => keyId) : []))
              }
            />{' '}
            all {formatCount(mine.length)}
          </label>
          <button type="button" disabled={picked.length === 0} onClick={() => ask(approveMany(picked, reload))}>
            Approve {plural(picked.length, 'device')}
          </button>
        </div>
      )}
      {waiting.length === 0 ? (
        <p class="muted">Nobody waits.</p>
      ) : (
        <ul class="list">
          {waiting.map((one) => (
            <WaitingRow key={one.keyId} one={one} me={me} reload={reload} ask={ask}>
              {mine.length > 1 && mine.includes(one) && (
                <input
                  type="checkbox"
                  aria-label={`Choose ${one.name}`}
                  checked={chosen.has(one.keyId)}
                  onChange={({ currentTarget }) => choose(one.keyId, currentTarget.checked)}
                />
              )}
            </WaitingRow>
          ))}
        </ul>
      )}
    </Card>
  )
}

const MAX_AT_ONCE = 200
const MAX_NAMED = 20

function approveMany(picked: readonly JoinRequestItem[], reload: () => void): Question {
  const taken = picked.filter(({ keyId, holder }) => holder !== null && holder !== keyId)
  return {
    title: `Let ${plural(picked.length, 'device')} in?`,
    text: (
      <>
        <p>
          {picked
            .slice(0, MAX_NAMED)
            .map(({ name }) => name)
            .join(', ')}
          {picked.length > MAX_NAMED && ` and ${formatCount(picked.length - MAX_NAMED)} more`}
        </p>
        {taken.length > 0 && (
          <p class="bad">
            These names belong to other keys now, which lose them: {taken.map(({ name }) => name).join(', ')}.
          </p>
        )}
      </>
    ),
    yes: 'Approve',
    act: async () => {
      const failed: string[] = []
      for (let i = 0; i < picked.length; i += MAX_AT_ONCE) {
        const devices = picked.slice(i, i + MAX_AT_ONCE).map(({ name, keyId }) => ({ name, keyId }))
        const said = await post<ApprovedMany>('/enrolment/approve', { devices })
        failed.push(...said.failed.map(({ name, why }) => `${name}: ${why}`))
      }
      reload()
      if (failed.length === 0) return
      throw new Problem(400, {
        code: 'MESH_CONFIG_INVALID',
        message: `${formatCount(picked.length - failed.length)} are approved, ${formatCount(failed.length)} are not.`,
        remedy: failed.slice(0, MAX_NAMED).join('; '),
      })
    },
    said: `${plural(picked.length, 'device')} approved.`,
  }
}

type RowProps = Asking & { readonly one: JoinRequestItem; readonly children: ComponentChildren }

function WaitingRow({ one, me, reload, ask, children }: RowProps) {
  const { name, keyId, namespace } = one
  const decide = decideAbout(name, reload)
  return (
    <li>
      <div class="line">
        {children}
        <Link href={toDevice(name)}>{name}</Link> <Labels labels={one.labels} />
        <span class="muted">
          {namespace}/{one.serviceAccount}, from {one.address}, <When ms={one.askedMs} />
        </span>
        {mayIn(me, 'operator', namespace) && (
          <span class="push actions">
            <button
              type="button"
              class="primary"
              aria-label={`Approve ${name}`}
              onClick={() =>
                ask({
                  title: `Let ${name} in?`,
                  text: <Consequence one={one} />,
                  yes: 'Approve',
                  act: decide('approve', { keyId }),
                  said: `${name} is approved.`,
                })
              }
            >
              Approve
            </button>
            <button
              type="button"
              aria-label={`Deny ${name}`}
              onClick={() =>
                ask({
                  title: `Not let ${name} in?`,
                  text: <p>The token that it came with is as good as before.</p>,
                  yes: 'Deny',
                  act: decide('deny'),
                  said: `${name} is denied.`,
                })
              }
            >
              Deny
            </button>
          </span>
        )}
      </div>
      <p>
        Because {one.why}. Key <Short text={keyId} />
      </p>
    </li>
  )
}

const Consequence = ({ one }: { readonly one: JoinRequestItem }) => (
  <>
    <p>
      The key {one.keyId} from {one.address} becomes {one.name}.
    </p>
    {one.holder !== null && one.holder !== one.keyId && (
      <p class="bad">The name belongs to the key {one.holder} now, which loses it: its certificates are refused.</p>
    )}
  </>
)
