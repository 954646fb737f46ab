/**
 * The members of a shared subscription (MQTT 5.0 §4.8.2). Joining, leaving and the next in turn cost the same whatever
 * their number; only members that the rules keep a topic from are passed over one by one.
 */
import type { StoredSubscription } from '../durability.ts'
import type { Session } from './session.ts'

/** Sessions in turn. */
class Ring {
  readonly #all: Session[] = []
  readonly #places = new Map<Session, number>()
  #next = 0

  add(session: Session): void {
    if (this.#places.has(session)) return
    this.#places.set(session, this.#all.length)
    this.#all.push(session)
  }
  delete(session: Session): void {
    const place = this.#places.get(session)
    if (place === undefined) return
    this.#places.delete(session)
    const last = this.#all.pop()!
    if (last === session) return
    this.#all[place] = last
    this.#places.set(last, place)
  }
  next(fits: (session: Session) => boolean): Session | undefined {
    for (let left = this.#all.length; left > 0; left--) {
      if (this.#next >= this.#all.length) this.#next = 0
      const session = this.#all[this.#next++]!
      if (fits(session)) return session
    }
    return undefined
  }
}

export class Group {
  /** As it was subscribed: `$share/<name>/<filter>`. */
  readonly filter: string
  readonly #members = new Map<Session, StoredSubscription>()
  readonly #connected = new Ring()
  /** Kept without a connection. */
  readonly #away = new Ring()

  constructor(filter: string) {
    this.filter = filter
  }

  get size(): number {
    return this.#members.size
  }
  get(session: Session): StoredSubscription | undefined {
    return this.#members.get(session)
  }
  /** @returns whether it was none before */
  join(session: Session, subscription: StoredSubscription): boolean {
    const isNew = !this.#members.has(session)
    this.#members.set(session, subscription)
    session.join(this)
    this.noteConnection(session)
    return isNew
  }
  /** @returns whether it was one */
  leave(session: Session): boolean {
    session.leave(this)
    this.#connected.delete(session)
    this.#away.delete(session)
    return this.#members.delete(session)
  }
  /** It has a connection, or has none any more. */
  noteConnection(session: Session): void {
    const isConnected = session.link !== undefined
    ;(isConnected ? this.#away : this.#connected).delete(session)
    if (isConnected) this.#connected.add(session)
    else if (session.stored) this.#away.add(session)
  }

  /** The next member that may have the topic, one that is connected before one that is not. */
  next(topic: string): { readonly session: Session; readonly subscription: StoredSubscription } | undefined {
    const mayHave = (session: Session): boolean => session.mayHave(topic)
    const session = this.#connected.next(mayHave) ?? this.#away.next(mayHave)
    return session && { session, subscription: this.#members.get(session)! }
  }
}
