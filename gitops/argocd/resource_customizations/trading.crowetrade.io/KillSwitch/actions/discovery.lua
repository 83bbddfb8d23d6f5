return {engage = {disabled = obj.spec.engaged == true}}
