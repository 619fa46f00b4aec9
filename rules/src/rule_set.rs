//! A loaded rule set and its evaluation.

use std::cell::Cell;
use std::fmt;

use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::catalogue::{Catalogue, Slot};
use crate::compile::{BoolCode, Causes, Constants, Scope, bool_code};
use crate::definition::{self, RuleDefinition, Standing, TenantDefinition};
use crate::diagnostic::LoadError;
use crate::document::{self, Reporter, Section};
use crate::evaluation::{Evaluation, Fired, Severity, Undecided, Undefined};
use crate::policy::{Language, Policy};
use crate::template::{Source, Template};
use crate::value::Facts;

/// Is a rule set that is ready to judge sessions.
///
/// It is immutable and may be shared between threads.
pub struct RuleSet {
    name: String,
    source: String,
    hash: String,
    rules: Vec<Rule>,
    constants: Constants,
    default_plan: Plan,
    tenant_plans: FxHashMap<String, Plan>,
    used_slots: Vec<Slot>,
}

/// Is one rule of a set.
pub struct Rule {
    code: String,
    line: usize,
    when: String,
    standing: Standing,
    risk_flag: Option<String>,
    condition: BoolCode,
    /// Names read by the condition; a place here is a bit in its causes.
    inputs: Vec<String>,
    shown: Vec<(String, Source)>,
    text_en: Template,
    text_es: Template,
}

/// Is what holds for one tenant: its policy, and its rules in the order of the file.
struct Plan {
    policy: Policy,
    active: Vec<(usize, Standing)>,
}

impl RuleSet {
    /// Parses, checks and compiles a rule set.
    ///
    /// All mistakes are told at once, each with its place in `source`. A set without rules is legal.
    pub fn load(source: &str, catalogue: &Catalogue) -> Result<RuleSet, LoadError> {
        let mut reporter = Reporter::new(source);
        let Some(table) = document::parse(source, &mut reporter) else {
            return Err(reporter.into_error());
        };
        let file = Section::of(&table);
        file.check_keys(&["name", "policy", "tenant", "rule"], &mut reporter);
        let name = definition::set_name(&file, &mut reporter);
        let policy = definition::policy(&file, catalogue, &mut reporter);
        let rules = definition::rules(&file, catalogue, &mut reporter);
        // Rules with mistakes are not in the list, and would all be unknown to the tenants.
        let tenants = if reporter.is_empty() {
            definition::tenants(&file, &policy, &rules, catalogue, &mut reporter)
        } else {
            Vec::new()
        };
        match name {
            Some(name) if reporter.is_empty() => {
                Ok(RuleSet::assemble(name, source, policy, rules, tenants, catalogue))
            }
            _ => Err(reporter.into_error()),
        }
    }

    fn assemble(
        name: String,
        source: &str,
        policy: Policy,
        definitions: Vec<RuleDefinition>,
        tenants: Vec<(String, TenantDefinition)>,
        catalogue: &Catalogue,
    ) -> RuleSet {
        let mut constants = Constants::default();
        let mut used_slots = Vec::new();
        let mut rules = Vec::with_capacity(definitions.len());
        for definition in definitions {
            rules.push(Rule::assemble(definition, catalogue, &mut constants, &mut used_slots));
        }
        used_slots.sort_unstable();
        used_slots.dedup();
        let default_standings = rules.iter().map(|rule| Some(rule.standing)).collect();
        let default_plan = Plan::new(TenantDefinition { policy, standings: default_standings });
        let tenant_plans =
            tenants.into_iter().map(|(tenant, definition)| (tenant, Plan::new(definition))).collect();
        RuleSet {
            name,
            source: source.to_owned(),
            hash: format!("sha256:{:x}", Sha256::digest(source.as_bytes())),
            rules,
            constants,
            default_plan,
            tenant_plans,
            used_slots,
        }
    }

    /// Returns the name that the file gives the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `sha256:` and the hexadecimal hash of the source text.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the text that the set was loaded from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns all rules in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the tenants that the file names, in alphabetical order.
    pub fn tenants(&self) -> Vec<&str> {
        let mut tenants: Vec<&str> = self.tenant_plans.keys().map(String::as_str).collect();
        tenants.sort_unstable();
        tenants
    }

    /// Returns the policy of a tenant: its own fields over those of the set.
    pub fn policy(&self, tenant: &str) -> &Policy {
        &self.plan(tenant).policy
    }

    /// Returns every slot that some rule reads or shows, ascending: what a fused record must hold.
    pub fn used_slots(&self) -> impl Iterator<Item = Slot> {
        self.used_slots.iter().copied()
    }

    /// Judges one session by the rules that are active for its tenant.
    ///
    /// Rules that do not fire and are not unknown cost no allocation, unless they join texts with `+` or
    /// lower a text that has capital letters.
    pub fn evaluate<'s>(&'s self, tenant: &str, facts: &impl Facts) -> Evaluation<'s> {
        let plan = self.plan(tenant);
        let causes = Cell::new(Causes::default());
        let scope = Scope::new(facts, &plan.policy, &self.constants, &causes);
        let mut evaluation = Evaluation { fired: Vec::new(), unknown: Vec::new() };
        for (place, standing) in &plan.active {
            let rule = &self.rules[*place];
            causes.set(Causes::default());
            match (rule.condition)(&scope) {
                Some(false) => {}
                Some(true) => evaluation.fired.push(rule.fired(*standing, facts, &plan.policy)),
                None => evaluation.unknown.push(rule.undecided(causes.get())),
            }
        }
        evaluation
    }

    fn plan(&self, tenant: &str) -> &Plan {
        self.tenant_plans.get(tenant).unwrap_or(&self.default_plan)
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RuleSet")
            .field("name", &self.name)
            .field("hash", &self.hash)
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

impl Plan {
    fn new(definition: TenantDefinition) -> Plan {
        let standings = definition.standings.into_iter().enumerate();
        let active = standings.filter_map(|(place, standing)| standing.map(|standing| (place, standing)));
        Plan { policy: definition.policy, active: active.collect() }
    }
}

impl Rule {
    fn assemble(
        definition: RuleDefinition,
        catalogue: &Catalogue,
        constants: &mut Constants,
        used_slots: &mut Vec<Slot>,
    ) -> Rule {
        let RuleDefinition { condition, text_en, text_es, .. } = definition;
        let name = |slot: &Slot| catalogue.entries()[*slot].name.clone();
        let inputs = condition.inputs.iter().map(name).collect();
        let read = condition.inputs.iter().copied().map(Source::Slot);
        let read = read.chain(condition.policy_fields.iter().copied().map(Source::Policy));
        let written = definition.values.into_iter().chain(text_en.sources()).chain(text_es.sources());
        let mut shown: Vec<(String, Source)> = Vec::new();
        for source in read.chain(written) {
            if shown.iter().any(|(_, known)| *known == source) {
                continue;
            }
            let source_name = match source {
                Source::Slot(slot) => name(&slot),
                Source::Policy(field) => field.name().to_owned(),
            };
            shown.push((source_name, source));
        }
        used_slots.extend(shown.iter().filter_map(|(_, source)| match source {
            Source::Slot(slot) => Some(*slot),
            Source::Policy(_) => None,
        }));
        Rule {
            code: definition.code,
            line: definition.line,
            when: definition.when,
            standing: definition.standing,
            risk_flag: definition.risk_flag,
            condition: bool_code(condition.tree, constants),
            inputs,
            shown,
            text_en,
            text_es,
        }
    }

    /// Returns the code that decisions name the rule by.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the line of the file on which the rule begins.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the condition as written.
    pub fn when(&self) -> &str {
        &self.when
    }

    /// Returns the severity for tenants that do not change it.
    pub fn severity(&self) -> Severity {
        self.standing.severity
    }

    /// Returns the weight in hundredths for tenants that do not change it.
    pub fn weight_hundredths(&self) -> u8 {
        self.standing.weight_hundredths
    }

    /// Returns the flag that the rule raises.
    pub fn risk_flag(&self) -> Option<&str> {
        self.risk_flag.as_deref()
    }

    /// Returns the catalogue names that the condition reads, in the order in which it names them.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(String::as_str)
    }

    #[cold]
    fn fired(&self, standing: Standing, facts: &impl Facts, policy: &Policy) -> Fired<'_> {
        let values = self
            .shown
            .iter()
            .map(|(name, source)| (name.as_str(), source.value(facts, policy).to_owned_value()));
        Fired {
            code: &self.code,
            severity: standing.severity,
            weight_hundredths: standing.weight_hundredths,
            next_action: standing.next_action,
            risk_flag: self.risk_flag.as_deref(),
            text_en: self.text_en.fill(facts, policy, Language::En),
            text_es: self.text_es.fill(facts, policy, Language::Es),
            values: values.collect(),
        }
    }

    #[cold]
    fn undecided(&self, causes: Causes) -> Undecided<'_> {
        let missing = self.inputs().enumerate().filter(|(bit, _)| causes.has_input(*bit));
        let undefined = Undefined::ALL.into_iter().filter(|reason| causes.has_undefined(*reason));
        Undecided {
            rule: &self.code,
            missing: missing.map(|(_, name)| name).collect(),
            undefined: undefined.collect(),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rule")
            .field("code", &self.code)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}
