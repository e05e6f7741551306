/**
 * The backend plugins of one domain, for devices that do not name the one they want.
 *
 * A vif's `accel` key names a NIC port; which plugin drives that port is for the plugins to say. So a vif follows
 * all of them: those that are registered and those that will be.
 */
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { BackendAcceleratorDefinition, Candidate } from '@netaccel/core-hooks';

/** A registry whose devices are told about every plugin. */
export class BackendRegistry extends AcceleratorRegistry<BackendAcceleratorDefinition> {
  private readonly followers = new Set<Candidate<BackendAcceleratorDefinition>>();

  /** Told each plugin that is registered from now on, and each that goes. Ends with the function returned. */
  follow(candidate: Candidate<BackendAcceleratorDefinition>): () => void {
    this.followers.add(candidate);
    return () => {
      this.followers.delete(candidate);
    };
  }

  /** A plugin is loaded: as in the base class, and every follower is told. */
  override register(definition: BackendAcceleratorDefinition): void {
    super.register(definition);
    for (const follower of [...this.followers]) follower.available(definition);
  }

  /** A plugin goes: as in the base class; resolves when no follower uses it any more. */
  override async unregister(name: string): Promise<void> {
    const definition = this.get(name);
    const gone = super.unregister(name);
    const left =
      definition === undefined ? [] : [...this.followers].map((each) => each.unavailable(definition));
    await Promise.all([gone, ...left]);
  }
}
