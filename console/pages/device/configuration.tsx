/** What a device is to have and what is in force there, by resource. */
import { useMemo, useState } from 'preact/hooks'
import type {
  Configuration as Compared,
  ConfigurationResource,
  ResourceDiff,
} from '../../../hub/console/fleet-schemas.ts'
import { ofDevice, useData } from '../../data.ts'
import { plural } from '../../format.ts'
import { Card, Loading, Pair, Pill, ProblemNote, Short } from '../../parts/basics.tsx'
import { DiffLines } from '../../parts/diff.tsx'
import { toDevice } from '../../router.ts'

type Props = { readonly name: string; readonly mayRead: boolean; readonly refused: string | null }

export function Configuration({ name, mayRead, refused }: Props) {
  const concerns = useMemo(() => ofDevice(name), [name])
  const { value, problem, reload } = useData<Compared>(`${toDevice(name)}/configuration`, concerns)
  return (
    <Card title="Configuration">
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {!value && !problem && <Loading />}
      {value && <Sides value={value} />}
      {refused !== null && (
        <>
          <p class="bad">It refused what is newer:</p>
          <pre tabIndex={0}>{refused}</pre>
        </>
      )}
      {value && <Resources value={value} name={name} mayRead={mayRead} />}
    </Card>
  )
}

function Sides({ value: { desired, running, content, isRunningKnown } }: { readonly value: Compared }) {
  return (
    <>
      <dl class="pairs">
        <Pair name="desired">{revisionOr(desired, 'none of this hub: an istiod may give it')}</Pair>
        <Pair name="in force">{revisionOr(running, 'not known')}</Pair>
        {content && (
          <Pair name="content">
            {content.expected === content.running ? (
              <>
                <Pill tone="ok">the same</Pill> <Short text={content.running} />
              </>
            ) : (
              <>
                <Pill tone="warn">differs</Pill> sent <Short text={content.expected} />, in force{' '}
                <Short text={content.running} />
              </>
            )}
          </Pair>
        )}
      </dl>
      {running !== null && !isRunningKnown && (
        <p class="muted">What stands in the revision in force was dropped here, so only what is desired is shown.</p>
      )}
    </>
  )
}
const revisionOr = (id: string | null, without: string) =>
  id === null ? <span class="muted">{without}</span> : <code>{id}</code>

type Shown = { readonly value: Compared; readonly name: string; readonly mayRead: boolean }

function Resources({ value, ...rest }: Shown) {
  const differing = value.resources.filter(({ state, refused }) => state !== 'same' || refused !== null)
  const same = value.resources.filter((one) => !differing.includes(one))
  if (value.resourcesTotal === 0) return <p class="muted">It has no resources.</p>
  return (
    <>
      {differing.length === 0 ? (
        <p>{plural(value.resourcesTotal, 'resource')}, as desired.</p>
      ) : (
        <ul class="list" aria-label="Resources that differ">
          {differing.map((one) => (
            <Resource key={`${one.type} ${one.name}`} one={one} {...rest} />
          ))}
        </ul>
      )}
      {same.length > 0 && (
        <details>
          <summary>{plural(same.length, 'resource')} that are the same</summary>
          <ul class="list">
            {same.map((one) => (
              <Resource key={`${one.type} ${one.name}`} one={one} {...rest} />
            ))}
          </ul>
        </details>
      )}
      {value.resources.length < value.resourcesTotal && (
        <p class="muted">The first {value.resources.length} are shown.</p>
      )}
    </>
  )
}

const TONES = { changed: 'accent', added: 'ok', removed: 'warn', same: 'quiet' } as const

function Resource({ one, name, mayRead }: Omit<Shown, 'value'> & { readonly one: ConfigurationResource }) {
  const [isOpen, setOpen] = useState(false)
  const what = one.state === 'same' ? 'content' : 'what differs'
  return (
    <li>
      <div class="line">
        <Pill tone={TONES[one.state]}>{one.state}</Pill> {one.type} <code>{one.name}</code>
        <span class="muted">
          {one.running === one.desired ? (
            <Short text={one.desired ?? ''} />
          ) : (
            <>
              <Short text={one.running ?? 'none'} /> → <Short text={one.desired ?? 'none'} />
            </>
          )}
        </span>
        {mayRead && (
          <button
            type="button"
            class="push"
            aria-expanded={isOpen}
            aria-label={`${isOpen ? 'Hide' : 'Show'} ${what} of ${one.name}`}
            onClick={() => setOpen(!isOpen)}
          >
            {isOpen ? 'Hide' : 'Show'}
          </button>
        )}
      </div>
      {one.refused !== null && <p class="bad">It refuses it: {one.refused}</p>}
      {isOpen && <Diff name={name} one={one} />}
    </li>
  )
}

function Diff({ name, one: { type, name: resource } }: { readonly name: string; readonly one: ConfigurationResource }) {
  const query = new URLSearchParams({ type, name: resource })
  const { value, problem, reload } = useData<ResourceDiff>(`${toDevice(name)}/configuration/diff?${query}`)
  if (!value) return problem ? <ProblemNote problem={problem} retry={reload} /> : <Loading />
  if (value.isHidden) return <p class="muted">It has secrets in it, which the page does not show.</p>
  return (
    <div class="diff">
      <DiffLines label={`What differs in ${resource}`} lines={value.lines} />
      {value.isCut && <p class="muted">There is more than is shown.</p>}
    </div>
  )
}
